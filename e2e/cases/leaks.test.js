// S1 G1 G5: a whole day's use, then every place is searched where a browser or a file could keep a token. (Each other case
// searches its own traffic, logs and files too; see lib/stage.js.)
import assert from 'node:assert/strict'
import { createServer } from 'node:https'
import { mkdtempSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { startBrowser, startProfile } from '../lib/browser.js'
import { assertNoToken, assertNoTokenOnTheWire } from '../lib/leaks.js'
import { pair, tokenOf } from '../lib/pair.js'
import { issued } from '../lib/provider.js'
import { close, listen, run, tls } from '../lib/run.js'
import { expire, fetchFrom, open, person, query, readable, signIn, signOut, test } from '../lib/stage.js'

test('S1 G5 no token is in a page, a URL, the profile or the network log, but where the delivery says', async t => {
  const stage = await open(t, { accessTTL: 6, config: { log: { level: 'debug' } } })
  const folder = mkdtempSync(join(run.dir, 'profile-'))
  const { context, log } = await startProfile(folder)
  try {
    const page = await person({ ...stage, context }).tab()
    const urls = []
    context.on('request', request => urls.push(request.url()))
    await signIn(page)
    await query(page)
    await expire(page)
    await query(page) // renewed
    for (const path of ['/api/early', '/api/cacheable', '/site/notes', '/auth/session', '/auth/client.js', '/nothing', '/api/nothing']) {
      await fetchFrom(page, path)
    }
    await fetchFrom(page, '/auth/refresh', { method: 'POST' })
    const kept = await page.evaluate(() => JSON.stringify([
      document.documentElement.outerHTML, document.cookie, { ...localStorage }, { ...sessionStorage }, history.state,
      performance.getEntries().map(entry => entry.name), Object.keys(window),
    ]))
    assertNoToken(kept, 'the page')
    await readable(page) // with split the claims, and not the signature, which the search looks for
    const { cookies, origins } = await context.storageState()
    const token = tokenOf(cookies)
    assert.equal(issued.get(token), pair.inCookies ? 'AccessToken' : undefined, 'the cookies of the delivery have the token')
    const others = cookies.filter(({ name }) => !pair.tokenCookies().some(token => token.name === name))
    assertNoToken(JSON.stringify([others, origins]), 'other cookies, and storage')
    // What is sealed is all letters, and some of them may come to this by chance.
    if (pair.storage === 'store') for (const { name, value } of others) assert.doesNotMatch(value, /eyJ/, `S4 ${name} says nothing`)
    await signOut(page)
    await page.waitForURL('**/auth/signed-out**')
    assertNoToken(urls.filter(url => !url.includes('/session/end?')).join('\n'), 'a URL')
  } finally {
    await context.close()
  }
  assert.ok(issued.size >= 5, `${issued.size} tokens were given out`)
  await assertNoTokenOnTheWire(log)
  // The provider's logout URL has the ID token (RP-Initiated Logout §2); history keeps URLs. Access and refresh tokens nowhere.
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    assertNoToken(readFileSync(join(entry.parentPath, entry.name), 'latin1'), `the profile's ${entry.name}`, kind => kind === 'IDToken')
  }
})

test('the search finds what it looks for', async t => {
  const token = 'a-planted-token-'.padEnd(4000, 'x')
  issued.set(token, 'AccessToken')
  t.after(() => issued.delete(token))
  for (const [where, headers, body] of [['a body', {}, token.repeat(8)], ['a header', { 'x-token': token }, '']]) {
    const server = createServer(tls, (_, res) => res.writeHead(200, headers).end(body))
    const { browser, log } = await startBrowser()
    await (await browser.newPage()).goto(`https://127.0.0.1:${await listen(server)}/`)
    await browser.close()
    await close(server)
    await assert.rejects(assertNoTokenOnTheWire(log), /AccessToken in/, where)
  }
})
