// The API over real HTTP, and an issuer of our own whose keys it fetches: what each request brings, and the one answer that is right.
// ../test/express-apollo.test.js puts it beside a real gateway.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createServer, request } from 'node:http'
import { after, before, test } from 'node:test'
import { SignJWT, UnsecuredJWT, exportJWK, generateKeyPair } from 'jose'
import { cookieNames, tokensOf } from './auth.js'
import { createAPI } from './server.js'

const gateway = 'https://app.example.com'
const audience = 'https://api.example.com'
const page = { origin: gateway, 'sec-fetch-site': 'same-site', 'sec-fetch-mode': 'cors', 'sec-fetch-dest': 'empty' }
const elsewhere = { ...page, origin: 'https://blog.example.com' }

let issuer, keys, other
const servers = []
const listen = handler => new Promise(done => {
  const server = createServer(handler).listen(0, '127.0.0.1', () => done(`http://127.0.0.1:${server.address().port}`))
  servers.push(server)
})

before(async () => {
  keys = await generateKeyPair('ES256', { extractable: true })
  other = await generateKeyPair('ES256')
  const jwk = { ...await exportJWK(keys.publicKey), kid: '1', alg: 'ES256', use: 'sig' }
  issuer = await listen((_, res) => res.end(JSON.stringify({ keys: [jwk] })))
})
after(() => servers.forEach(server => server.close() && server.closeAllConnections()))

const claims = changes => ({ iss: issuer, sub: 'ada', aud: audience, client_id: 'app', jti: '1', ...changes })
function mint(changes, { typ = 'at+jwt', key = keys.privateKey, expires = '5m' } = {}) {
  return new SignJWT(claims(changes)).setProtectedHeader({ alg: 'ES256', kid: '1', typ }).setIssuedAt().setExpirationTime(expires).sign(key)
}

const start = async options => listen(await createAPI({ issuer, audience, jwks: `${issuer}/jwks`, gateway, shared: true, ...options }))

/** Sends one request as it is: node's fetch would not send some of these headers. */
function send(url, headers, { query = '{ me }', method = 'POST' } = {}) {
  return new Promise((resolve, reject) => {
    const path = method === 'GET' ? `/graphql?query=${encodeURIComponent(query)}` : '/graphql'
    const req = request(url + path, { method, headers: { 'content-type': 'application/json', ...headers } }, async res => {
      let body = ''
      for await (const chunk of res) body += chunk
      const { data, type } = body.startsWith('{') ? JSON.parse(body) : {}
      resolve({ status: res.statusCode, headers: res.headers, me: data?.me, code: type?.replace('urn:cloakroom:', '') })
    })
    req.on('error', reject)
    req.end(method === 'POST' ? JSON.stringify({ query }) : undefined)
  })
}

test('a bearer, and what is none', async () => {
  const api = await start()
  const good = await mint()
  const [head, payload] = good.split('.')
  for (const [name, token, status] of [
    ['good', good, 200],
    ['alg none', new UnsecuredJWT(claims()).setExpirationTime('5m').encode(), 401],
    ['another audience', await mint({ aud: 'https://other.example.com' }), 401],
    ['another issuer', await mint({ iss: 'https://evil.example' }), 401],
    ['an ID token', await mint({ aud: 'app', nonce: 'n' }, { typ: 'JWT' }), 401],
    ['expired', await mint({}, { expires: '-1s' }), 401],
    ['not yet', await mint({ nbf: Math.floor(Date.now() / 1000) + 120 }), 401],
    ['a stranger’s key', await mint({}, { key: other.privateKey }), 401],
    ['bound to a key', await mint({ cnf: { jkt: 'x' } }), 401],
    ['without client_id', await mint({ client_id: undefined }), 401],
    ['without a signature', `${head}.${payload}.`, 401],
    ['one byte', 'x', 401],
    ['12 kB', 'x'.repeat(12 << 10), 401], // node itself refuses headers of 16 kB
  ]) {
    const got = await send(api, { authorization: `Bearer ${token}` })
    assert.equal(got.status, status, name)
    assert.equal(got.me, status === 200 ? 'ada' : undefined, name)
    if (status === 401) assert.equal(got.headers['www-authenticate'], 'Bearer error="invalid_token"', name)
  }
  const nothing = await send(api, {})
  assert.deepEqual([nothing.status, nothing.headers['www-authenticate'], nothing.headers.cloakroom], [401, 'Bearer', 'login-required'])
})

test('the cookies, under the names that follow from the gateway’s url', async () => {
  const token = await mint()
  const at = token.lastIndexOf('.')
  for (const options of [{ shared: true }, { shared: false }, { gateway: 'http://localhost:8080', shared: false }]) {
    const api = await start(options)
    const { whole, claims, signature } = cookieNames(options.gateway ?? gateway, options.shared)
    const from = { ...page, origin: options.gateway ?? gateway }
    const halves = [`${claims}=${token.slice(0, at)}`, `${signature}=${token.slice(at + 1)}`]
    for (const [name, cookie, status, more] of [
      ['whole', `a=b; ${whole}=${token}`, 200],
      ['split', halves.join('; '), 200],
      ['the first half', halves[0], 401],
      ['the second half', halves[1], 401],
      ['a half twice', [...halves, halves[0]].join('; '), 400],
      ['the whole twice', `${whole}=${token}; ${whole}=${token}`, 400],
      ['beside a bearer', `${whole}=${token}`, 400, { authorization: `Bearer ${await mint({ sub: 'eve' })}` }],
      ['split, beside a bearer', halves.join('; '), 400, { authorization: `Bearer ${token}` }],
      ['under another name', `access_token=${token}`, 401],
    ]) {
      const got = await send(api, { ...from, cookie, ...more })
      assert.deepEqual([got.status, got.me], [status, status === 200 ? 'ada' : undefined], `${name} at ${JSON.stringify(options)}`)
    }
  }
})

test('a cookie alone does not show who meant it', async () => {
  const api = await start()
  const cookie = `__Secure-access_token=${await mint()}`
  const link = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }
  for (const [name, headers, status, more] of [
    ['our page', page, 200],
    ['our page reads', page, 200, { method: 'GET' }],
    ['a link', link, 200, { method: 'GET' }],
    ['a sibling host', elsewhere, 403],
    ['a sibling host reads', elsewhere, 403, { method: 'GET' }],
    ['another site', { ...page, origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' }, 403],
    ['a form of another site', { ...link, origin: 'https://evil.example' }, 403],
    ['a sandboxed frame', { ...page, origin: 'null', 'sec-fetch-site': 'cross-site' }, 403],
    ['a suffix', { ...page, origin: `${gateway}.evil.example`, 'sec-fetch-site': 'cross-site' }, 403],
    ['nobody says', {}, 403],
  ]) {
    const got = await send(api, { ...headers, cookie }, more)
    const refused = status === 403
    assert.deepEqual([got.status, got.code, got.headers.cloakroom], [status, refused ? 'cross_site' : undefined, refused ? 'cross-site' : undefined], name)
  }
})

test('CSRF tokens, by the bytes of docs/api.md', async () => {
  const text = readFileSync(new URL('../../docs/api.md', import.meta.url), 'utf8')
  const [, csrfKey, iss, sub, cookie, token] = /key +(\S+)\niss +(\S+)\nsub +(\S+)\n(?:.*\n)*?cookie +(\S+)\ntoken +(\S+)\n/.exec(text)
  const vector = tokensOf(csrfKey)
  assert.ok(vector.match({ iss, sub }, cookie, token), 'the test vector')
  for (const [name, ...wrong] of [
    ['another person', { iss, sub: 'eve' }, cookie, token], ['another issuer', { iss: `${iss}/`, sub }, cookie, token], ['no cookie', { iss, sub }, undefined, token],
    ['no token', { iss, sub }, cookie, undefined], ['swapped', { iss, sub }, token, cookie], ['cut short', { iss, sub }, cookie, token.slice(0, -1)],
  ]) assert.ok(!vector.match(...wrong), name)

  // At the API they go together with the access token, whose person they have to be of.
  const api = await start({ csrfKey, issuer: iss }) // the keys are still ours
  const person = await mint({ iss })
  const brings = (access, more) => ({ ...page, cookie: `__Secure-access_token=${access}; __Secure-csrf=${cookie}`, ...more })
  assert.equal((await send(api, brings(person, { 'x-csrf-token': token }))).me, 'ada')
  assert.equal((await send(api, brings(person))).status, 403, 'a write without')
  assert.equal((await send(api, brings(person), { method: 'GET' })).status, 200, 'a read needs none')
  assert.equal((await send(api, brings(await mint({ iss, sub: 'eve' }), { 'x-csrf-token': token }))).status, 403, 'of another person')
  assert.equal((await send(api, { ...brings(person, { 'x-csrf-token': token }), ...elsewhere })).status, 403, 'from a sibling host')
})

test('CORS is the same list', async () => {
  const api = await start()
  for (const [origin, allowed] of [[gateway, gateway], ['https://blog.example.com', undefined], ['null', undefined]]) {
    const got = await send(api, { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type,x-csrf-token' }, { method: 'OPTIONS' })
    assert.deepEqual([got.status, got.headers['access-control-allow-origin']], [204, allowed])
  }
})

test('an issuer that cannot be asked is nobody’s bad token', async () => {
  const api = await start({ jwks: 'http://127.0.0.1:1/jwks' })
  const got = await send(api, { authorization: `Bearer ${await mint()}` })
  assert.deepEqual([got.status, got.code, got.headers['retry-after']], [503, 'provider_down', '5'])
})
