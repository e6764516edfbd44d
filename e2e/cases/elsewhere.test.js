// What is not behind the gateway: an API on a sibling host that the page calls itself, and a front end on another origin.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'
import { join } from 'node:path'
import { pair } from '../lib/pair.js'
import { close, listen, tls, until } from '../lib/run.js'
import { endElsewhere, expire, openChromium, shows, signIn, test, watch } from '../lib/stage.js'

/** Asks the sibling API from the page, which lists it, and returns [status, body]. */
const ask = (page, origin, path, init) => page.evaluate(async ([origin, path, init]) => {
  window.app.listed ??= window.app.createClient({ origins: [origin] })
  const answer = await window.app.listed.fetch(origin + path, init)
  return [answer.status, await answer.json()]
}, [origin, path, init])

const graphql = query => ({ method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ query }) })
const add = graphql('mutation { addNote(text: "from the page") { text } }')

// Only the gateway has the token: nothing that a sibling host could take reaches it.
const notProxy = {
  because: 'only the gateway has the token',
  async play(t) {
    const { tab, sibling } = await openChromium(t, { sibling: true })
    const page = await tab()
    await signIn(page)
    const [status] = await ask(page, sibling.origin, '/api/whoami')
    assert.equal(status, 401)
    for (const { headers } of sibling.seen) assert.deepEqual([headers.cookie, headers.authorization], [undefined, undefined])
  },
}

test('a sibling API verifies the token itself, and sees nothing else of ours', async t => {
  const { tab, sibling, context, app } = await openChromium(t, { sibling: true })
  const page = await tab()
  await signIn(page)
  assert.deepEqual(await ask(page, sibling.origin, '/api/whoami'), [200, { sub: 'ann' }])
  assert.deepEqual(await ask(page, sibling.origin, '/api/graphql', add), [200, { data: { addNote: { text: 'from the page' } } }])
  assert.deepEqual(sibling.notes, [{ text: 'from the page', by: 'ann' }])
  for (const { headers } of sibling.seen) {
    const names = (headers.cookie ?? '').split('; ').filter(Boolean).map(one => one.split('=')[0])
    assert.deepEqual(names.sort(), pair.tokenCookies('app.test').map(({ name }) => name).sort())
    assert.equal(Boolean(headers.authorization), pair.delivery === 'memory')
  }
  for (const { name, domain, httpOnly } of await context.cookies(sibling.origin)) {
    assert.deepEqual([domain, httpOnly], ['.app.test', !pair.tokenCookies('app.test').find(token => token.name === name).readable], name)
  }
  assert.ok((await context.cookies(app)).some(({ name }) => name === pair.session), 'the session stays with the app')
}, { proxy: notProxy })

test('R1 a sibling API gets a renewed token when the old one is over: one refresh, no failed call', async t => {
  const { tab, sibling, op } = await openChromium(t, { sibling: true, accessTTL: 5 })
  const page = await tab()
  await signIn(page)
  assert.deepEqual(await ask(page, sibling.origin, '/api/whoami'), [200, { sub: 'ann' }])
  await expire(page)
  const answers = await Promise.all([1, 2, 3].map(() => ask(page, sibling.origin, '/api/graphql', add)))
  assert.deepEqual(answers.map(([status]) => status), [200, 200, 200])
  assert.equal(sibling.notes.length, 3, 'each came once')
  assert.equal(op.refreshes(), 1)
}, { proxy: notProxy })

test('a sibling API that refuses a signed-out page leads to the login, and back', async t => {
  const stage = await openChromium(t, { sibling: true, accessTTL: 5 })
  const { tab, sibling, context, app } = stage
  const page = await tab('/?draft=7')
  await signIn(page)
  await ask(page, sibling.origin, '/api/whoami')
  await expire(page)
  await endElsewhere(stage)
  const logins = watch(context, '/auth/login')
  await page.evaluate(origin => {
    window.before = true // gone once the page was left
    window.app.listed.fetch(`${origin}/api/whoami`)
  }, sibling.origin)
  await page.waitForFunction(() => !window.before)
  await page.waitForURL(`${app}/?draft=7`)
  await shows(page, 'signed in as ann')
  assert.equal(logins.count, 1)
}, { proxy: notProxy })

test('A7 X1 a page of another sibling host cannot use the token at the API', async t => {
  const { tab, sibling, context } = await openChromium(t, { sibling: true })
  const page = await tab()
  await signIn(page)
  const server = createServer(tls, (_, res) => res.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>attacker</title>'))
  const port = await listen(server)
  t.after(() => close(server))
  const evil = await context.newPage()
  await evil.goto(`https://sibling.app.test:${port}/`)
  const got = await evil.evaluate(async origin => {
    const attempts = [
      fetch(`${origin}/api/whoami`, { credentials: 'include' }).then(answer => answer.text()),
      fetch(`${origin}/api/form`, { credentials: 'include', method: 'POST', body: new URLSearchParams({ text: 'forged' }), mode: 'no-cors' }),
    ]
    return (await Promise.allSettled(attempts)).map(({ status }) => status)
  }, sibling.origin)
  assert.deepEqual(got, ['rejected', 'fulfilled'], 'no answer can be read; an opaque one says nothing')
  await until('the forged write to arrive', () => sibling.count('/api/form') === 1)
  assert.deepEqual(sibling.notes, [])
  await ask(page, sibling.origin, '/api/whoami')
}, { proxy: notProxy })

/** A front end on front.app.test: the suite's page, with the client and the API of the gateway. */
async function startFront(t) {
  let app
  const files = {
    '/': ['text/html', () => readFileSync(join(import.meta.dirname, '../page/index.html'))],
    '/app.js': ['text/javascript', () => readFileSync(join(import.meta.dirname, '../page/app.js'), 'utf8')
      .replace("'/auth/client.js'", `'${app}/auth/client.js'`)
      .replaceAll('createClient({', `createClient({ base: '${app}/auth/', `).replaceAll('createClient()', `createClient({ base: '${app}/auth/' })`)
      .replace("'/api/graphql'", `'${app}/api/graphql'`)],
  }
  const server = createServer(tls, (req, res) => {
    const [type, text] = files[new URL(req.url, 'https://front.app.test').pathname] ?? []
    if (type) res.writeHead(200, { 'content-type': type }).end(text())
    else res.writeHead(404).end()
  })
  const port = await listen(server)
  t.after(() => close(server))
  return { origin: `https://front.app.test:${port}`, knows: url => { app = url } }
}

for (const csrf of ['origin', 'header', 'token']) {
  test(`K1 K3 a listed front end on another origin, csrf ${csrf}: sign in and back, query, write, renewal, sign out`, async t => {
    const front = await startFront(t)
    const { app, api, context, op, gateway } = await openChromium(t, { accessTTL: 5, config: { origins: [front.origin], csrf } })
    front.knows(app)
    const page = await context.newPage()
    await page.goto(`${front.origin}/?draft=7#end`)
    await shows(page, 'signed out')
    await signIn(page)
    assert.equal(page.url(), `${front.origin}/?draft=7#end`)

    await expire(page)
    await page.locator('#add input').fill('from the front')
    await page.getByRole('button', { name: 'Add' }).click()
    await page.getByText('from the front').waitFor()
    assert.deepEqual(api.notes, [{ text: 'from the front', by: 'ann' }])
    assert.equal(op.refreshes(), 1)
    assert.equal(await page.evaluate(() => document.cookie), '', 'what is the app\'s is not the front end\'s to read')

    await page.evaluate(() => window.app.auth.logout())
    await page.waitForURL('**/session/end*')
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.waitForURL(`${app}/auth/signed-out**`)
    assert.equal(gateway.audit('logout').length, 1)
  })
}

test('K1 K2 a front end that is not listed gets nothing', async t => {
  const front = await startFront(t)
  const stage = await openChromium(t, { config: { origins: ['https://other.app.test'] } })
  front.knows(stage.app)
  await signIn(await stage.tab())
  const page = await stage.context.newPage()
  await page.goto(front.origin)
  const before = stage.api.seen.length
  const got = await page.evaluate(async app => {
    const attempts = ['/auth/session', '/auth/client.js', '/api/whoami'].flatMap(path => [
      fetch(app + path, { credentials: 'include' }),
      fetch(app + path, { credentials: 'include', headers: { 'x-csrf-token': '1' } }),
      fetch(app + path, { credentials: 'include', method: 'POST', body: '{}', headers: { 'content-type': 'application/json' } }),
    ])
    return (await Promise.allSettled(attempts)).filter(({ status }) => status === 'fulfilled').length
  }, stage.app)
  assert.equal(got, 0)
  assert.equal(stage.api.seen.length, before)
})
