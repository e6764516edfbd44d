// The ways to prove that a request was meant, by option: a header, or the token of the session. (That where it comes from is checked in
// any case is attacks.test.js.)
import assert from 'node:assert/strict'
import { pair } from '../lib/pair.js'
import { enter, newPerson, openChromium, query, shows, signIn, signOut, test } from '../lib/stage.js'

/** Submits a form of the page itself, and returns the status of what it led to. */
async function submit(page, action, fields) {
  const answer = page.waitForResponse(answer => new URL(answer.url()).pathname === action)
  const there = page.waitForNavigation()
  await page.evaluate(([action, fields]) => {
    const form = Object.assign(document.createElement('form'), { method: 'post', action })
    for (const [name, value] of Object.entries(fields)) form.append(Object.assign(document.createElement('input'), { name, value }))
    document.body.append(form)
    form.submit()
  }, [action, fields])
  await there
  return (await answer).status()
}

/** Asks from the page by the browser's own fetch, with what an API wants besides, and returns the status. */
const bare = (page, path, init = {}) => page.evaluate(async ([path, init, memory]) => {
  if (memory) {
    const { csrf_token = '1' } = await window.app.auth.session()
    const { access_token } = await (await fetch('/auth/token', { method: 'POST', headers: { 'x-csrf-token': csrf_token } })).json()
    init.headers = { authorization: `Bearer ${access_token}`, ...init.headers }
  }
  return (await fetch(path, init)).status
}, [path, init, pair.delivery === 'memory'])

const write = (token, text = 'forged') => ({
  method: 'POST',
  headers: { 'content-type': 'application/json', ...token !== undefined && { 'x-csrf-token': token } },
  body: JSON.stringify({ query: `mutation { addNote(text: "${text}") { text } }` }),
})

/** Fails if anything reached the API but the one write that was meant. */
function reachedNot(api) {
  assert.deepEqual(api.notes.map(({ text }) => text), ['meant'])
  assert.deepEqual(['/api/whoami', '/api/form'].map(api.count), [0, 0])
}

test('X2 csrf header: the page is the same, and what carries no header is refused', async t => {
  const { tab, api, app } = await openChromium(t, { config: { csrf: 'header' } })
  const page = await tab()
  await signIn(page)
  await page.locator('#add input').fill('meant')
  await page.getByRole('button', { name: 'Add' }).click()
  await page.getByText('meant').waitFor()

  assert.equal(await bare(page, '/api/whoami'), 403, 'a read')
  assert.equal(await bare(page, '/api/graphql', write()), 403, 'a write')
  assert.equal(await bare(page, '/auth/session'), 403, 'our own endpoints')
  assert.equal(await submit(page, '/api/form', { text: 'forged' }), 403, 'a form')
  await page.goto(app)
  assert.equal(await submit(page, '/auth/logout', {}), 403, 'a form that signs out')
  reachedNot(api)

  await page.goto(`${app}/site/notes`) // what a browser asks for by itself passes
  await page.getByRole('heading', { name: 'Notes of ann' }).waitFor()
  await page.goto(app)
  assert.equal(await page.evaluate(() => new Promise(said => {
    const socket = new WebSocket('/api/socket')
    socket.onopen = () => said('open')
    socket.onerror = () => said('refused')
  })), 'open')
  await signOut(page)
  await page.waitForURL('**/auth/signed-out**')
})

test('X8 csrf token: the page is the same, and what carries another token is refused', async t => {
  const stage = await openChromium(t, { config: { csrf: 'token' } })
  const { tab, api, app } = stage
  const page = await tab()
  await signIn(page)
  await page.locator('#add input').fill('meant')
  await page.getByRole('button', { name: 'Add' }).click()
  await page.getByText('meant').waitFor()

  const stranger = await newPerson(t, stage)
  const theirs = await stranger.tab()
  await signIn(theirs, 'bob')
  const [token, other] = await Promise.all([page, theirs].map(page => page.evaluate(async () => (await window.app.auth.session()).csrf_token)))
  assert.ok(token && other && token !== other)

  for (const wrong of [undefined, '', '1', token.slice(0, -1), other]) {
    assert.equal(await bare(page, '/api/graphql', write(wrong)), 403, `a write with ${wrong}`)
  }
  for (const fields of [{ text: 'forged' }, { _csrf: other, text: 'forged' }]) {
    assert.equal(await submit(page, '/api/form', fields), 403)
    await page.goto(app)
  }
  reachedNot(api)
  assert.equal(await bare(page, '/api/whoami'), 200, 'a read needs none')
  assert.equal(await bare(page, '/api/graphql', write(token, 'by hand')), 200)

  // A form has the token in a field. With memory it lacks the bearer still, which is said only now.
  const inForm = pair.delivery === 'memory' ? 401 : 303
  assert.equal(await submit(page, '/api/form', { _csrf: token, text: 'by a form' }), inForm)
  await page.goto(app)
  assert.equal(await page.evaluate(async token => {
    const form = new FormData()
    for (const [name, value] of [['_csrf', token], ['title', 'x'], ['file', new File(['x'], 'x.txt')]]) form.set(name, value)
    return (await fetch('/api/upload', { method: 'POST', body: form })).status
  }, token), pair.delivery === 'memory' ? 401 : 200, 'an upload')
  assert.equal(await submit(page, '/auth/logout', { _csrf: token }), 303, 'a form signs out')
})

test('X8 csrf token: the same person signs in anew in another tab, and the page goes on', async t => {
  const { tab, api, app } = await openChromium(t, { config: { csrf: 'token' } })
  const page = await tab()
  await signIn(page)
  // This page hears nothing of other tabs, as if it had slept.
  await page.evaluate(() => { window.old = window.app.createClient({ base: '/auth//' }) })
  await page.evaluate(async () => { window.first = (await window.old.session()).csrf_token })
  const other = await tab()
  await other.goto(`${app}/auth/login?prompt=login&return_to=/`)
  await enter(other, 'ann')
  await shows(other, 'signed in as ann')
  await query(other)
  const answers = await page.evaluate(async init => {
    const status = (await window.old.fetch('/api/graphql', init)).status
    return [status, (await window.old.session()).csrf_token !== window.first]
  }, write(undefined, 'late'))
  assert.deepEqual(answers, [200, true])
  assert.deepEqual(api.notes.map(({ text }) => text), ['late'], 'once')
})
