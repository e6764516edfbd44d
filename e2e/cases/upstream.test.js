import assert from 'node:assert/strict'
import { connect } from 'node:tls'
import { run, until } from '../lib/run.js'
import { readFileSync } from 'node:fs'
import { endElsewhere, enter, fetchFrom, openChromium, signIn, test } from '../lib/stage.js'

test('X7 a plain HTML form through the gateway', async t => {
  const { tab, api } = await openChromium(t)
  const page = await tab()
  await signIn(page)
  await page.locator('#plain input').fill('no script')
  await page.getByRole('button', { name: 'Send' }).click()
  await page.getByRole('listitem').getByText('no script').waitFor() // L16 303, and the page behind it
  assert.match(page.url(), /\/site\/notes$/)
  assert.deepEqual(api.notes, [{ text: 'no script', by: 'ann' }])
})

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
})

test('P2 the upstream gets a bearer and none of our cookies', async t => {
  const { tab, context, app, api } = await openChromium(t)
  const page = await tab()
  await signIn(page)
  await context.addCookies([{ name: 'theme', value: 'dark', url: app }])
  await fetchFrom(page, '/site/notes', { headers: { Authorization: 'Bearer mine', 'X-User': 'admin' } })
  const { headers, sub } = api.seen.at(-1)
  assert.equal(sub, 'ann')
  assert.equal(headers.cookie, 'theme=dark')
  assert.equal(headers['x-user'], 'ann')
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
  await signIn(await tab())
  const head = [
    'GET /site/notes HTTP/1.1', `Host: app.test:${gateway.port}`, `Cookie: __Host-Http-session=${await ticket()}; other=1`,
    'Connection: close, Authorization, X-User, X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto',
    'Authorization: Bearer mine', 'X-User: admin', 'X-Forwarded-For: 192.0.2.1', 'X-Forwarded-Host: evil.test',
    'X-Forwarded-Proto: http', 'Forwarded: for=192.0.2.1;host=evil.test', 'X-Real-IP: 192.0.2.1',
  ]
  const answer = await raw(gateway.port, head)
  assert.match(answer, /^HTTP\/1\.1 200 /)
  const { headers, sub } = api.seen.at(-1)
  assert.equal(sub, 'ann', 'the bearer was set after Connection was obeyed')
  assert.equal(headers['x-user'], 'ann')
  assert.equal(headers.cookie, 'other=1')
  assert.equal(headers['x-forwarded-host'], `app.test:${gateway.port}`)
  assert.equal(headers['x-forwarded-proto'], 'https')
  assert.equal(headers['x-forwarded-for'], '127.0.0.1')
  assert.doesNotMatch(JSON.stringify(headers), /192\.0\.2\.1|evil\.test/)
})

test('C8 two cookies of our name are refused', async t => {
  const { tab, gateway, ticket } = await openChromium(t)
  await signIn(await tab())
  const cookie = `__Host-Http-session=${await ticket()}`
  for (const line of [`Cookie: ${cookie}; __Host-Http-session=x`, `Cookie: __Host-Http-session=x; ${cookie}`]) {
    const answer = await raw(gateway.port, ['GET /api/whoami HTTP/1.1', `Host: app.test:${gateway.port}`, 'Connection: close', line])
    assert.match(answer, /^HTTP\/1\.1 40[01] /)
  }
})

/** Sends lines as they are, and returns all that comes back. */
function raw(port, lines) {
  return new Promise((resolve, reject) => {
    let answer = ''
    const socket = connect({ host: '127.0.0.1', port, servername: 'app.test', ca: readFileSync(run.ca) })
    socket.on('data', text => { answer += text }).on('end', () => resolve(answer)).on('error', reject)
    socket.write(lines.join('\r\n') + '\r\n\r\n')
  })
}
