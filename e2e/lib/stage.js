// Puts provider, API, gateway and browser together: one line in a case.
import assert from 'node:assert/strict'
import { after, test as plainTest } from 'node:test'
import { startAPI } from './api.js'
import { startBrowser } from './browser.js'
import { loginCookie, startGateway } from './gateway.js'
import { assertNoSecret, assertNoTokenOnTheWire, secrets } from './leaks.js'
import { pair, tokenOf } from './pair.js'
import { newDatabase, postgres } from './postgres.js'
import { issued, resource, startProvider } from './provider.js'
import { freePort, until } from './run.js'

let shared // one browser for all cases of a file

after(async () => {
  if (!shared) return
  const { browser, log } = await shared
  await browser.close() // completes the log
  const searched = await assertNoTokenOnTheWire(log)
  assert.ok(searched > 10_000 && issued.size > 0, 'nothing was searched')
})

const witnesses = new WeakMap() // case → functions that say what they saw

/**
 * A case. When it fails, its error says where every tab was and what the gateway had logged last.
 *
 * What cannot be with a delivery or a storage stands in `otherwise`, by its word: `because` says why, and `play` shows what is true
 * there instead.
 */
export function test(name, play, otherwise) {
  if (!process.env.E2E_SMOKE) smoke(name, play, otherwise)
}

/** A case that also runs over sealed sessions, where these are not run in full: once, for what no delivery changes. */
export function both(name, play, otherwise) {
  if (!process.env.E2E_SMOKE || pair.name === 'sealed/proxy') smoke(name, play, otherwise)
}

/** A case that also runs over the pairs that are not run in full. */
export function smoke(name, play, otherwise = {}) {
  const other = otherwise[pair.delivery] ?? otherwise[pair.storage]
  if (other) {
    name = `NOT WITH ${pair.name}, because ${other.because}: ${name}`
    play = other.play
  }
  plainTest(`${pair.name}${postgres ? ' PostgreSQL' : ''} ${name}`, async t => {
    witnesses.set(t, [])
    try {
      await play(t)
    } catch (err) {
      for (const tell of witnesses.get(t)) err.stack += `\n${await tell().catch(String)}`
      throw err
    }
  })
}

/**
 * Sets the stage for one case: a provider, an API, a gateway between them, and a fresh browser profile. All of it ends with
 * the case, which fails if the gateway's logs or files hold a token.
 *
 * Options: those of startProvider, and `config`, `main` and `page` of startGateway. With `sibling` there is a second API, on a host
 * of the same site, that the page calls without the gateway: it gets the cookies of the token, where there are any. `accounts` are the
 * gateway's own, in the place of the provider; E2E_ACCOUNTS says in which database.
 */
export async function open(t, { host = 'app.test', config, main, page, sibling, accounts, ...provider } = {}) {
  const port = await freePort()
  const app = `https://${host}:${port}`
  const op = await startProvider({ app, ...provider })
  t.after(() => op.close())
  const issuer = accounts ? `https://127.0.0.1:${port}/auth` : op.issuer // the API does not know the app's name
  const api = await startAPI({ issuer, domain: sibling && host })
  t.after(() => api.close())
  const database = accounts && newDatabase()
  if (accounts) {
    const people = { database: database.dsn, tokens: { issuer, audience: resource }, ...accounts }
    config = { providers: undefined, accounts: people, ...config }
    t.after(() => { for (const { headers } of api.seen) keepToken(headers) })
  }
  if (sibling) {
    sibling = await startAPI({ issuer: op.issuer, app, domain: host })
    t.after(() => sibling.close())
    page = { csp: `default-src 'self'; connect-src 'self' ${sibling.origin}; img-src 'self' data:`, ...page }
    if (pair.inCookies) config = { tokens: { delivery: pair.delivery, domain: host }, ...config }
  }
  const gateway = await startGateway({ origin: app, issuer: op.issuer, api: api.origin, config, main, page })
  t.after(async () => {
    await gateway.stop()
    for (const { path, query } of op.seen) if (path === '/auth') remember(query)
    assertNoSecret(gateway.output(), 'the log of the gateway')
    for (const [name, bytes] of gateway.files()) assertNoSecret(bytes.toString('latin1'), name)
    if (accounts) assertNoSecret(database.dump(), 'the accounts in PostgreSQL')
  })
  witnesses.get(t).push(async () => `gateway:\n${gateway.output().split('\n').slice(-12).join('\n')}`)
  return { app, op, api, sibling, gateway }
}

/** Notes the token of a request that reached the API, to look for it everywhere else. */
function keepToken({ authorization = '', cookie = '' }) {
  const cookies = cookie.split('; ').map(text => ({ name: text.split('=')[0], value: text.slice(text.indexOf('=') + 1) }))
  const token = authorization.replace(/^Bearer /, '') || tokenOf(cookies)
  if (!token) return
  issued.set(token, 'AccessToken')
  if (pair.delivery === 'split') issued.set(token.split('.')[2], 'Signature')
}

function remember({ state, nonce, code_challenge }) {
  for (const [value, kind] of [[state, 'state'], [nonce, 'nonce'], [code_challenge, 'code challenge']]) {
    if (value) secrets.set(value, kind)
  }
}

/** The same with a fresh Chromium profile: another person's, if called again. */
export async function openChromium(t, options) {
  const stage = await open(t, options)
  return { ...stage, ...await newPerson(t, stage) }
}

/** A fresh profile in the browser that the cases of a file share. */
export async function newPerson(t, { app }) {
  const { browser } = await (shared ??= startBrowser())
  const context = await browser.newContext()
  const violations = []
  context.on('console', message => {
    if (message.text().includes('Content Security Policy') && message.location().url.startsWith(app)) violations.push(message.text())
  })
  t.after(async () => {
    await context.close()
    assert.deepEqual(violations, [], 'our own pages obey our own policies')
  })
  witnesses.get(t).push(async () => (await Promise.all(context.pages().map(async page =>
    `tab ${page.url()}: ${(await page.locator('body').innerText({ timeout: 1000 })).slice(0, 300)}`))).join('\n'))
  return person({ app, context })
}

/** What a person has: tabs and cookies. */
export function person({ app, context }) {
  context.setDefaultTimeout(10_000)
  const session = async () =>
    (await context.cookies(app)).filter(({ name }) => pair.isSession(name)).sort((a, b) => a.name < b.name ? -1 : 1)
  return {
    context,
    /** Opens a tab, by default on the app. */
    async tab(path = '/') {
      const page = await context.newPage()
      await page.goto(app + path)
      return page
    },
    /** The cookies of the session. */
    session,
    /** The session's cookies as a Cookie header has them, undefined when there are none. */
    async ticket() {
      const cookies = await session()
      for (const { value } of cookies) secrets.set(value, 'ticket')
      return cookies.map(({ name, value }) => `${name}=${value}`).join('; ') || undefined
    },
    /** The cookies of an access token for the app's host alone. */
    async tokenCookies() {
      const names = pair.tokenCookies().map(({ name }) => name)
      return (await context.cookies(app)).filter(({ name }) => names.includes(name))
    },
    /** The cookies of logins in flight. */
    async logins() {
      return (await context.cookies(app)).filter(cookie => cookie.name.startsWith(loginCookie))
    },
  }
}

/** Signs in from the app's page, and waits until it shows who is signed in. */
export async function signIn(page, name = 'ann') {
  await page.getByRole('button', { name: 'Sign in' }).click()
  await enter(page, name)
  await shows(page, `signed in as ${name}`)
}

/** Fills the provider's page. */
export async function enter(page, name, button = 'Sign in') {
  await page.waitForURL('**/interaction/*')
  await page.getByLabel('Name').fill(name)
  await page.getByRole('button', { name: button }).click()
}

/** Signs out from the app's page, at the provider too. */
export async function signOut(page) {
  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.waitForURL('**/session/end*')
  await page.getByRole('button', { name: 'Sign out' }).click()
}

/** Waits until the app's page says text about who is signed in. */
export async function shows(page, text) {
  await page.locator('#who').getByText(text, { exact: true }).waitFor()
}

/** Collects what page (or a whole context) asks of a path from now on, with the headers that really went out. */
export function watch(page, path) {
  const requests = []
  page.on('request', request => { if (new URL(request.url()).pathname === path) requests.push(request) })
  return {
    get count() { return requests.length },
    cookies: async () => Promise.all(requests.map(async request => (await request.allHeaders()).cookie ?? '')),
  }
}

/** Ends the session behind the browser's back: the browser keeps its cookie. */
export async function endElsewhere({ app, gateway, ticket }) {
  const headers = { origin: app, 'sec-fetch-site': 'same-origin', accept: 'application/json' }
  const { status } = await gateway.ask('/auth/logout', { method: 'POST', cookie: await ticket(), headers })
  assert.equal(status, 200, 'logout without the browser')
}

/** Asks the API from the page. */
export const query = (page, text = '{ me { sub } }') => page.evaluate(text => window.app.query(text), text)

/** Fetches from the page with what the delivery wants, never leaves it, and returns { status, body }. */
export const fetchFrom = (page, path, init) => page.evaluate(async ([path, init]) => {
  const answer = await window.app.fetch(path, init)
  return { status: answer.status, body: await answer.text() }
}, [path, init])

/** What script can read of our cookies: nothing, but with split the token up to its signature. */
export async function readable(page) {
  const text = await page.evaluate(() => document.cookie)
  const names = pair.tokenCookies().filter(({ readable }) => readable).map(({ name }) => name)
  assert.deepEqual(text.split('; ').map(one => one.split('=')[0]).filter(name => name.startsWith('__')), names, 'what script can read of ours')
  return text
}

/** Waits until the access token of the session is over. It makes no request that could renew it. */
export async function expire(page) {
  const { access_expires_at } = await page.evaluate(() => window.app.auth.session())
  const end = Date.parse(access_expires_at) + 1000 // it is told in whole seconds, rounded down
  assert.ok(end > 0, 'GET session says when the access token ends')
  await until('the access token to expire', () => Date.now() > end, { within: end - Date.now() + 5000 })
}
