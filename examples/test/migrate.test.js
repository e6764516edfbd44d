// Each migrated front end, built as its README says, behind the real gateway: what people do there, and where no token may be.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { cookieName } from '../../e2e/lib/gateway.js'
import { endElsewhere, enter, openChromium, shows, signOut, test } from '../../e2e/lib/stage.js'

const examples = join(import.meta.dirname, '..')
const names = readdirSync(examples).filter(name => name.startsWith('migrate-')).reverse() // the slowest to build is the last
assert.ok(names.length > 0, 'there are examples')

/** Builds an example and returns the folder to serve: dist/, or the example itself where there is nothing to build. */
async function built(name) {
  const folder = join(examples, name)
  if (!existsSync(join(folder, 'package.json'))) return folder
  assert.ok(existsSync(join(folder, 'node_modules')), `${name} is not installed: scripts/install.sh does it`)
  await promisify(execFile)('npm', ['run', '--silent', 'build'], { cwd: folder })
  return join(folder, 'dist')
}

const ready = new Map(names.map(name => [name, built(name)])) // side by side, while the first case begins
for (const folder of ready.values()) folder.catch(() => {}) // its case tells

/** What a page keeps for its next visit where script can read it. */
const kept = page => page.evaluate(async () => [
  ...Object.keys(localStorage), ...Object.keys(sessionStorage), ...(await indexedDB.databases()).map(({ name }) => name),
  document.cookie,
].join(''))

async function add(page, text) {
  await page.getByLabel('Note').fill(text)
  await page.getByRole('button', { name: 'Add' }).click()
}
const listed = (page, text) => page.getByRole('listitem').getByText(text, { exact: true }).waitFor()

// The stricter policy that the guide recommends.
const guide = readFileSync(join(examples, '..', 'docs', 'choosing.md'), 'utf8')
const trustedTypes = /csp: "(.+require-trusted-types-for 'script')"/.exec(guide)?.[1]

async function signIn(page) {
  await page.getByRole('button', { name: 'Sign in' }).click()
  await enter(page, 'ann')
  await shows(page, 'signed in as Ann')
}

for (const name of names) {
  test(`${name}: sign in, query, write, a session that is over, sign out`, async t => {
    const files = await ready.get(name)
    const stage = await openChromium(t, { page: { files } }) // the starter policy; a violation fails the case
    const { tab, api, op, context } = stage

    const page = await tab()
    await shows(page, 'signed out')
    api.notes.push({ text: 'from before', by: 'bob' })
    await signIn(page)
    await listed(page, 'from before')

    await add(page, 'hello')
    await listed(page, 'hello')
    assert.deepEqual(api.notes.at(-1), { text: 'hello', by: 'ann' })

    // A reload is what people kept the token for.
    await page.reload()
    await shows(page, 'signed in as Ann')
    await listed(page, 'hello')
    assert.equal(await kept(page), '')
    assert.deepEqual((await context.cookies(stage.app)).map(({ name, httpOnly }) => [name, httpOnly]), [[cookieName, true]])

    // The session ends elsewhere: the next call leads to the login, where the provider still knows the person, and back.
    await endElsewhere(stage)
    const back = page.waitForEvent('load')
    await add(page, 'too late')
    await back
    await shows(page, 'signed in as Ann')
    assert.equal(op.count('/auth'), 2)
    assert.notEqual(api.notes.at(-1).text, 'too late')

    const other = await tab()
    await shows(other, 'signed in as Ann')
    await signOut(page)
    await shows(other, 'signed out')
    assert.equal(await other.getByRole('listitem').count(), 0, 'what was shown is gone')
    await page.goto(stage.app)
    await shows(page, 'signed out')
    assert.equal(await kept(page), '')
  })

  test(`${name}: under trusted types`, async t => {
    assert.ok(trustedTypes, 'the guide shows a policy')
    const { tab, api } = await openChromium(t, { page: { files: await ready.get(name), csp: trustedTypes } })
    const page = await tab()
    assert.equal((await page.reload()).headers()['content-security-policy'], trustedTypes)
    await signIn(page)
    await add(page, 'hello')
    await listed(page, 'hello')
    assert.equal(api.notes.length, 1)
  })
}
