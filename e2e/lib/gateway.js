// The gateway under test: the real binary with its own port, key, configuration and SQLite file.
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { join } from 'node:path'
import { pair } from './pair.js'
import { client, resource } from './provider.js'
import { run, until } from './run.js'

/** The cookie that a session cannot do without. */
export const cookieName = pair.session
/** How the cookie of a login in flight begins. */
export const loginCookie = '__Host-Http-login.'

/**
 * Starts a gateway for `origin` (its port is the one to listen on). `config` is merged over the suite's plain
 * configuration, top-level key by key; `main` over the provider's, `page` over the route of the app's files.
 */
export async function startGateway({ origin, issuer, api, config = {}, main = {}, page = {} }) {
  const dir = mkdtempSync(join(run.dir, 'gateway-'))
  const file = name => join(dir, name)
  writeFileSync(file('key'), randomBytes(32).toString('base64'), { mode: 0o600 })
  writeFileSync(file('client-secret'), client.secret, { mode: 0o600 })

  const port = Number(new URL(origin).port)
  const settings = {
    url: origin,
    listen: `127.0.0.1:${port}`,
    admin: 'off',
    tls: { cert: run.cert, key: run.key },
    keys: [{ file: file('key') }],
    store: `sqlite:${file('sessions.db')}`,
    providers: {
      main: {
        issuer,
        client_id: client.id,
        client_secret: { file: file('client-secret') },
        scopes: ['openid', 'profile', 'email', 'offline_access'],
        resource: [resource],
        userinfo: false, // the access token is for the API alone: oidc-provider refuses it there
        ...main,
      },
    },
    session: { storage: pair.storage },
    tokens: { delivery: pair.delivery },
    routes: [
      { path: '/api/', upstream: api, timeout: '2m', identity: { 'X-User': 'sub' } },
      // A navigation brings no bearer: with memory the site is files behind the session, and not rendered by the API.
      { path: '/site/', ...pair.delivery === 'memory' ? { files: folder('site') } : { upstream: api, identity: { 'X-User': 'sub' } } },
      { path: '/', files: folder('page'), auth: 'off', ...page },
    ],
    ...config,
  }
  writeFileSync(file('cloakroom.yaml'), JSON.stringify(settings, null, 2)) // JSON is YAML

  let output = ''
  const child = spawn(run.binary, ['serve', '--config', file('cloakroom.yaml')], {
    cwd: dir,
    env: { SSL_CERT_FILE: run.ca }, // nothing else of ours may reach it
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  for (const stream of [child.stdout, child.stderr]) stream.on('data', text => { output += text })
  process.once('exit', () => child.kill('SIGKILL')) // a runner that gives up leaves nothing behind
  const exited = new Promise(resolve => child.once('exit', resolve))

  const gateway = {
    port,
    /** The path of its configuration. */
    config: file('cloakroom.yaml'),
    /** Everything the gateway has written to its logs. */
    output: () => output,
    /** The audit records so far. */
    audit: action => output.split('\n').filter(line => line.includes('"audit"')).map(line => JSON.parse(line))
      .filter(record => !action || record.action === action),
    /** A request without a browser: what curl would send, with the Cookie header and others as given. */
    ask: (path, options) => ask(port, path, options),
    /** The same as a page of ours sends it to the API: with memory, that asks for the access token first. */
    async askAPI(path, { cookie, headers, ...options }) {
      const ours = { origin, 'sec-fetch-site': 'same-origin', accept: 'application/json' }
      if (pair.delivery === 'memory') {
        const { status, body } = await ask(port, '/auth/token', { method: 'POST', cookie, headers: ours })
        if (status === 200) ours.authorization = `Bearer ${JSON.parse(body).access_token}`
      }
      return ask(port, path, { cookie, headers: { ...ours, ...headers }, ...options })
    },
    /** Whether somebody is signed in who brings this Cookie header. */
    async knows(cookie) {
      const { status, body } = await ask(port, '/auth/session', { cookie })
      if (status !== 200) throw new Error(`GET session: ${status} ${body}`)
      return JSON.parse(body).authenticated
    },
    /** Every file the gateway has written, as bytes by name. */
    files: () => readdirSync(dir).filter(name => /^(sessions|accounts)\.db/.test(name)).map(name => [name, readFileSync(file(name))]),
    async stop() {
      if (child.exitCode !== null) return
      child.kill('SIGTERM')
      const killer = setTimeout(() => child.kill('SIGKILL'), 5000)
      await exited
      clearTimeout(killer)
    },
  }
  try {
    await until('the gateway to answer', async () => {
      if (child.exitCode !== null) throw new Error(`the gateway ended with status ${child.exitCode}:\n${output}`)
      return ask(port, '/auth/session').catch(() => false)
    })
  } catch (err) {
    await gateway.stop()
    throw err
  }
  return gateway
}

const folder = name => join(import.meta.dirname, '..', name)

function ask(port, path, { method = 'GET', headers = {}, cookie, body } = {}) {
  return new Promise((resolve, reject) => {
    const req = request({
      host: '127.0.0.1', port, path, method, servername: 'app.test', agent: false,
      headers: { host: `app.test:${port}`, ...(cookie && { cookie }), ...headers },
    }, async res => {
      const chunks = []
      for await (const chunk of res) chunks.push(chunk)
      resolve({ status: res.statusCode, headers: res.headers, body: Buffer.concat(chunks).toString() })
    })
    req.on('error', reject)
    req.end(body)
  })
}
