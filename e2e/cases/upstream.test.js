import assert from 'node:assert/strict'
import { connect } from 'node:tls'
import { pair, tokenOf } from '../lib/pair.js'
import { run, until } from '../lib/run.js'
import { readFileSync } from 'node:fs'
import { endElsewhere, enter, fetchFrom, openChromium, query, signIn, smoke, test } from '../lib/stage.js'

// Browsers add no Authorization to what a form or a link asks for, and a page cannot.
const noBearer = 'a navigation brings no bearer'

smoke('X7 a plain HTML form through the gateway', async t => {
  const { tab, api } = await openChromium(t)
  const page = await tab()
  await signIn(page)
  await page.locator('#plain input').fill('no script')
  await page.getByRole('button', { name: 'Send' }).click()
  await page.getByRole('listitem').getByText('no script').waitFor() // L16 303, and the page behind it
  assert.match(page.url(), /\/site\/notes$/)
  assert.deepEqual(api.notes, [{ text: 'no script', by: 'ann' }])
}, { memory: { because: noBearer, play: t => formIsRefused(t, '#plain', 'Send', '/api/form') } })

/** The page says so in plain words, nothing reaches the API, and the person is still signed in. */
async function formIsRefused(t, form, button, path) {
  const { tab, api, app } = await openChromium(t)
  const page = await tab()
  await signIn(page)
  await page.locator(`${form} input`).first().fill('no script')
  const [answer] = await Promise.all([page.waitForResponse(app + path), page.getByRole('button', { name: button }).click()])
  assert.equal(answer.status(), 401)
  await page.getByText('Not to be opened like this').first().waitFor()
  assert.equal(api.count(path), 0)
  assert.deepEqual(api.notes, [])
  await page.goto(app)
  await query(page)
}

test('X7 a multipart upload through the gateway', async t => {
  const { tab } = await openChromium(t)
  const page = await tab()
  await signIn(page)
  const buffer = Buffer.from('begin '.padEnd(3 << 20, '.'))
  await page.locator('#upload input[name=title]').fill('Grüße')
  await page.locator('#upload input[type=file]').setInputFiles({ name: 'three.txt', mimeType: 'text/plain', buffer })
  await page.getByRole('button', { name: 'Upload' }).click()
  await page.waitForURL('**/api/upload')
  assert.deepEqual(JSON.parse(await page.locator('body').textContent()),
    { title: 'Grüße', name: 'three.txt', size: 3 << 20, text: 'begin '.padEnd(20, '.') })
}, { memory: { because: noBearer, play: t => formIsRefused(t, '#upload', 'Upload', '/api/upload') } })

test('a multipart upload by script', async t => {
  const { tab } = await openChromium(t)
  const page = await tab()
  await signIn(page)
  const said = await page.evaluate(async () => {
    const form = new FormData()
    form.set('title', 'Grüße')
    form.set('file', new File(['begin '.padEnd(3 << 20, '.')], 'three.txt'))
    return (await window.app.auth.fetch('/api/upload', { method: 'POST', body: form })).json()
  })
  assert.deepEqual(said, { title: 'Grüße', name: 'three.txt', size: 3 << 20, text: 'begin '.padEnd(20, '.') })
})

test('a server-rendered upstream: pages, forms and who it is', async t => {
  const { tab } = await openChromium(t)
  const page = await tab('/site/notes')
  await enter(page, 'bob')
  await page.getByRole('heading', { name: 'Notes of bob' }).waitFor()
  assert.equal(await page.locator('#header').textContent(), 'bob') // identity: X-User
  await page.locator('input[name=text]').fill('rendered')
  await page.getByRole('button', { name: 'Add' }).click()
  await page.getByRole('listitem').getByText('rendered').waitFor()
}, {
  memory: {
    because: noBearer,
    async play(t) { // pages come from a folder behind the session, and fill themselves
      const { tab, api } = await openChromium(t)
      api.notes.push({ text: 'fetched', by: 'bob' })
      const page = await tab('/site/notes')
      await enter(page, 'bob')
      await page.getByRole('heading', { name: 'Notes of bob' }).waitFor()
      await page.getByRole('listitem').getByText('fetched').waitFor()
      assert.equal((await page.goto(new URL('/api/whoami', page.url()).href)).status(), 401)
      assert.equal(api.count('/api/whoami'), 0)
    },
  },
})

test('P2 the upstream gets the token in one way, none of our other cookies and nothing that a page made up', async t => {
  const { tab, context, app, api } = await openChromium(t)
  const page = await tab()
  await signIn(page)
  await context.addCookies([{ name: 'theme', value: 'dark', url: app }])
  const refused = api.seen.length
  const { status } = await fetchFrom(page, '/api/whoami', { headers: { Authorization: 'Bearer mine', 'X-User': 'admin' } })
  if (pair.delivery === 'memory') { // there a bearer counts, and this is nobody's
    assert.deepEqual([status, api.seen.length], [401, refused])
    await fetchFrom(page, '/api/whoami', { headers: { 'X-User': 'admin' } })
  }
  const { headers, sub } = api.seen.at(-1)
  assert.equal(sub, 'ann')
  assert.equal(headers['x-user'], 'ann')
  if (pair.inCookies) {
    assert.equal(headers.authorization, undefined)
    const names = headers.cookie.split('; ').map(text => text.split('=')[0])
    assert.deepEqual(names.sort(), ['theme', ...pair.tokenCookies().map(({ name }) => name)].sort())
  } else {
    assert.match(headers.authorization, /^Bearer eyJ/)
    assert.equal(headers.cookie, 'theme=dark')
  }
})

test('P10 server-sent events arrive as they are sent, and end with the session', async t => {
  const stage = await openChromium(t)
  const page = await stage.tab()
  await signIn(page)
  await page.evaluate(() => new Promise(open => {
    window.said = []
    window.source = new EventSource('/api/sse')
    source.onmessage = ({ data }) => { said.push(data); open() }
    source.onerror = () => { said.push('error'); source.close() }
  }))
  for (const stream of stage.api.streams) stream.write('data: more\n\n')
  await page.waitForFunction(() => window.said.length === 2)
  assert.deepEqual(await page.evaluate(() => window.said), ['hello ann', 'more'])

  await endElsewhere(stage)
  await page.waitForFunction(() => window.said.includes('error'))
  await until('the upstream to see it end', () => stage.api.streams.size === 0)
}, {
  memory: {
    because: 'EventSource sends no header',
    async play(t) {
      const stage = await openChromium(t)
      const page = await stage.tab()
      await signIn(page)
      const refused = await page.evaluate(() => new Promise(said => {
        const source = new EventSource('/api/sse')
        source.onopen = () => said('open')
        source.onerror = () => { source.close(); said('refused') }
      }))
      assert.equal(refused, 'refused')
      // The same stream, read by fetch.
      await page.evaluate(async () => {
        window.said = ''
        const { body } = await window.app.auth.fetch('/api/sse')
        const reader = body.pipeThrough(new TextDecoderStream()).getReader()
        const read = async () => {
          for (let { value, done } = await reader.read(); !done; { value, done } = await reader.read()) window.said += value
        }
        read().catch(() => { window.said += 'error' })
      })
      await page.waitForFunction(() => window.said.includes('hello ann'))
      for (const stream of stage.api.streams) stream.write('data: more\n\n')
      await page.waitForFunction(() => window.said.includes('more'))
      await endElsewhere(stage)
      await page.waitForFunction(() => window.said.endsWith('error'))
      await until('the upstream to see it end', () => stage.api.streams.size === 0)
    },
  },
})

test('X9 P10 a WebSocket goes through, and closes with its session', async t => {
  const stage = await openChromium(t)
  const page = await stage.tab()
  await signIn(page)
  const said = await page.evaluate(() => new Promise((resolve, reject) => {
    window.socket = new WebSocket('/api/socket')
    window.end = new Promise(end => { socket.onclose = ({ code }) => end(code) })
    socket.onopen = () => socket.send('hello')
    socket.onmessage = ({ data }) => resolve(data)
    socket.onerror = () => reject(new Error('no socket'))
  }))
  assert.equal(said, 'echo hello')
  await endElsewhere(stage)
  assert.equal(await page.evaluate(() => window.end), 4401)
})

test('accident: headers spoofed through Connection. P3 P4', async t => {
  const { tab, gateway, ticket, api } = await openChromium(t)
  const page = await tab()
  await signIn(page)
  await fetchFrom(page, '/api/whoami')
  // With memory a bearer counts: it is the page's own, and passes anew as ours.
  const bearer = pair.delivery === 'memory' ? api.seen.at(-1).headers.authorization : 'Bearer mine'
  const head = [
    'GET /api/whoami HTTP/1.1', `Host: app.test:${gateway.port}`, `Cookie: ${await ticket()}; other=1`,
    'Connection: close, X-User, X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto' + (pair.delivery === 'memory' ? '' : ', Authorization'),
    `Authorization: ${bearer}`, 'X-User: admin', 'X-Forwarded-For: 192.0.2.1', 'X-Forwarded-Host: evil.test',
    'X-Forwarded-Proto: http', 'Forwarded: for=192.0.2.1;host=evil.test', 'X-Real-IP: 192.0.2.1',
  ]
  const answer = await raw(gateway.port, head)
  assert.match(answer, /^HTTP\/1\.1 200 /)
  const { headers, sub } = api.seen.at(-1)
  assert.equal(sub, 'ann', 'the token was set after Connection was obeyed')
  assert.equal(headers['x-user'], 'ann')
  if (pair.inCookies) assert.ok(headers.cookie.startsWith('other=1; ') && tokenOf(cookiesIn(headers.cookie)), 'the token as this delivery has it')
  else assert.equal(headers.cookie, 'other=1')
  assert.equal(headers['x-forwarded-host'], `app.test:${gateway.port}`)
  assert.equal(headers['x-forwarded-proto'], 'https')
  assert.equal(headers['x-forwarded-for'], '127.0.0.1')
  assert.doesNotMatch(JSON.stringify(headers), /192\.0\.2\.1|evil\.test/)
})

test('C8 two cookies of our name are refused', async t => {
  const { tab, gateway, ticket } = await openChromium(t)
  await signIn(await tab())
  const cookie = await ticket()
  for (const line of [`Cookie: ${cookie}; ${pair.session}=x`, `Cookie: ${pair.session}=x; ${cookie}`]) {
    const answer = await raw(gateway.port, ['GET /api/whoami HTTP/1.1', `Host: app.test:${gateway.port}`, 'Connection: close', line])
    assert.match(answer, /^HTTP\/1\.1 40[01] /)
  }
})

const cookiesIn = text => text.split('; ').map(one => ({ name: one.slice(0, one.indexOf('=')), value: one.slice(one.indexOf('=') + 1) }))

/** Sends lines as they are, and returns all that comes back. */
function raw(port, lines) {
  return new Promise((resolve, reject) => {
    let answer = ''
    const socket = connect({ host: '127.0.0.1', port, servername: 'app.test', ca: readFileSync(run.ca) })
    socket.on('data', text => { answer += text }).on('end', () => resolve(answer)).on('error', reject)
    socket.write(lines.join('\r\n') + '\r\n\r\n')
  })
}
