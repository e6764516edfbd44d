// Published accidents of this field, re-enacted.
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { startProfile } from '../lib/browser.js'
import { assertNoTokenOnTheWire } from '../lib/leaks.js'
import { run } from '../lib/run.js'
import { enter, open, openChromium, person, query, signIn, test } from '../lib/stage.js'

test('accident: login cookies pile up until the browser drops the session. L8 C12', async t => {
  const { tab, app, op, ticket, logins, context } = await openChromium(t, { config: { limits: { logins_per_address: 1000 } } })
  const page = await tab()
  await signIn(page)
  const before = await ticket()
  const speak = op.silence('/auth') // only the start of a login counts here
  const other = await context.newPage()
  for (let n = 0; n < 200; n++) await other.goto(`${app}/auth/login?prompt=login`).catch(err => assert.match(err.message, /ERR_ABORTED/))
  assert.equal(op.count('/auth'), 201)
  assert.ok((await logins()).length <= 3, `${(await logins()).length} login cookies`)
  assert.equal(await ticket(), before)
  await query(page)
  speak()
  await other.goto(`${app}/auth/login?prompt=login&return_to=/last`) // one more still works
  await enter(other, 'ann')
  await other.waitForURL(`${app}/last`)
})

test('accident: a browser that refuses cookies goes round and round', async t => {
  const stage = await open(t)
  const { op, app } = stage
  // Only the app's cookies are refused, so that it is the gateway that has to see it.
  const folder = mkdtempSync(join(run.dir, 'profile-'))
  mkdirSync(join(folder, 'Default'))
  writeFileSync(join(folder, 'Default', 'Preferences'),
    JSON.stringify({ profile: { content_settings: { exceptions: { cookies: { '[*.]app.test,*': { setting: 2 } } } } } }))
  const { context, log } = await startProfile(folder)
  try {
    const { tab } = person({ app, context })
    const page = await tab('/site/notes')
    await enter(page, 'ann')
    await page.getByText(/cookie/i).first().waitFor()
    assert.equal(new URL(page.url()).origin, app)
    assert.ok(op.count('/auth') <= 6, `${op.count('/auth')} rounds`)
    assert.deepEqual(await context.cookies(app), [])
    assert.equal(op.count('/token'), 0, 'no code was redeemed')
  } finally {
    await context.close()
  }
  await assertNoTokenOnTheWire(log)
})

// The judge is the browser's URL parser: wherever it ends, it is on the app.
const elsewhere = [
  '//evil.test', '///evil.test', '////evil.test', '/\\evil.test', '\\\\evil.test', '/%5cevil.test', '/%2fevil.test', '/%09/evil.test',
  '/\t/evil.test', '/\n/evil.test', '%0d%0aLocation:%20https://evil.test', 'https:evil.test', 'https:/evil.test', 'https://evil.test',
  'HTTPS://EVIL.TEST', 'http://app.test', 'javascript:alert(1)', 'data:text/html,evil', '//app.test@evil.test',
  'https://app.test@evil.test', 'https://app.test.evil.test', '/..//evil.test', '/a/..//evil.test', '/./\\evil.test', '/.//evil.test',
  '//ｅvil.test', '/\u2028/evil.test', ' //evil.test', '/auth/../..//evil.test', '//evil.test/%2e%2e', '/;//evil.test', '?//evil.test',
]
test('accident: open redirects through return_to. L10', async t => {
  const { tab, app, op, context } = await openChromium(t, { config: { limits: { logins_per_address: 1000 } } })
  const page = await tab()
  await signIn(page)
  const hosts = new Set()
  context.on('request', request => hosts.add(new URL(request.url()).origin))
  for (const target of elsewhere) {
    const answer = await page.goto(`${app}/auth/login?return_to=${encodeURIComponent(target)}`)
    await page.waitForURL(url => !/^\/auth\/(callback|continue)/.test(url.pathname))
    assert.equal(new URL(page.url()).origin, app, `${target} led to ${page.url()}`)
    assert.ok(answer.status() < 500, `${answer.status()} for ${target}`)
  }
  assert.deepEqual([...hosts].sort(), [op.issuer, app].sort())
})
