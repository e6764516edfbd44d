import assert from 'node:assert/strict'
import { cookieName } from '../lib/gateway.js'
import { pair } from '../lib/pair.js'
import { until } from '../lib/run.js'
import { enter, fetchFrom, openChromium, query, readable, shows, signIn, signOut, smoke, test, watch } from '../lib/stage.js'

smoke('sign in, query, reload, sign out', async t => {
  const { tab, op, ticket } = await openChromium(t)
  const page = await tab()
  await shows(page, 'signed out')
  await signIn(page, 'ann')
  assert.deepEqual(await query(page), { me: { sub: 'ann' } })

  await page.locator('#add input').fill('from the page')
  await page.getByRole('button', { name: 'Add' }).click()
  await page.getByText('from the page').waitFor()

  await page.reload()
  await shows(page, 'signed in as ann')
  await page.getByText('from the page').waitFor()
  assert.equal(op.count('/auth'), 1, 'one login for all of it')

  await signOut(page)
  await page.waitForURL('**/auth/signed-out**')
  assert.equal(await ticket(), undefined)
  await page.goto(new URL('/', page.url()).href)
  await shows(page, 'signed out')
})

test('register: the provider shows its sign-up page', async t => {
  const { tab, op } = await openChromium(t)
  const page = await tab()
  await page.getByRole('button', { name: 'Sign up' }).click()
  await enter(page, 'carl', 'Sign up')
  await shows(page, 'signed in as carl')
  assert.equal(op.seen.find(entry => entry.path === '/auth').query.prompt, 'create')
})

smoke('P11 a navigation is led to the login and back, a fetch gets 401', async t => {
  const { tab } = await openChromium(t)
  const page = await tab()
  const { status, body } = await fetchFrom(page, '/api/whoami')
  assert.equal(status, 401)
  assert.match(JSON.parse(body).login_url, /^\/auth\/login|^https:\/\/app\.test/)

  await page.goto(new URL('/site/notes?page=2#top', page.url()).href)
  await enter(page, 'ann')
  await page.getByRole('heading', { name: 'Notes of ann' }).waitFor()
  assert.match(page.url(), /\/site\/notes\?page=2/)
})

test('CB8 the first page after the login has the Strict cookie, without a loop', async t => {
  const { app, context, tab, op } = await openChromium(t)
  const [callback, site] = ['/auth/callback', '/site/notes'].map(path => watch(context, path))
  const page = await tab('/site/notes')
  await enter(page, 'ann')
  await page.getByRole('heading', { name: 'Notes of ann' }).waitFor()
  assert.equal(op.count('/auth'), 1)
  assert.equal(callback.count, 1)
  assert.ok((await site.cookies()).at(-1).includes(`${cookieName}=`), 'the landing carries the session')
  const cookie = (await context.cookies(app)).find(({ name }) => name === cookieName)
  assert.equal(cookie.sameSite, 'Strict')
})

smoke('C1 C2 L7 cookies: HttpOnly, Secure, prefixed, Strict; Lax while the login is in flight, gone afterwards', async t => {
  const { app, context, tab, logins, tokenCookies } = await openChromium(t)
  const page = await tab('/site/notes')
  const [login, ...more] = await logins()
  assert.deepEqual(more, [])
  assert.deepEqual([login.sameSite, login.httpOnly, login.secure, login.path, login.domain], ['Lax', true, true, '/', 'app.test'])
  assert.ok(login.expires - Date.now() / 1000 <= 600, 'at most ten minutes')
  await enter(page, 'ann')
  await page.getByRole('heading', { name: 'Notes of ann' }).waitFor()

  const cookies = await context.cookies(app)
  assert.ok(cookies.some(({ name }) => name === pair.session))
  for (const { name, expires, ...attributes } of cookies) {
    const token = pair.tokenCookies().find(token => token.name === name)
    assert.ok(token || pair.isSession(name), `${name} is not ours to set`)
    const { sameSite, httpOnly, secure, path, domain } = attributes
    assert.deepEqual([sameSite, httpOnly, secure, path, domain], ['Strict', !token?.readable, true, '/', 'app.test'], name)
    assert.equal(expires === -1, !token, `${name}: the session's goes with the browser, the token's with the token`)
  }
  assert.equal((await tokenCookies()).length, pair.tokenCookies().length)
  await readable(page)
})

test('C3 script can neither read, set nor remove the session cookie', async t => {
  const { tab, ticket } = await openChromium(t)
  const page = await tab()
  await signIn(page)
  const before = await ticket()
  await page.evaluate(name => {
    document.cookie = `${name}=planted; Secure; Path=/`
    document.cookie = `${name}=; Secure; Path=/; Max-Age=0`
  }, cookieName)
  assert.equal(await ticket(), before)
  await query(page)
})

test('L7 CB6 form_post: the answer comes as a cross-site POST', async t => {
  const { tab, op, logins, context } = await openChromium(t, { main: { response_mode: 'form_post' } })
  const callback = watch(context, '/auth/callback')
  const page = await tab('/site/notes')
  assert.deepEqual((await logins()).map(({ sameSite }) => sameSite), ['None'])
  await enter(page, 'ann')
  await page.getByRole('heading', { name: 'Notes of ann' }).waitFor()
  assert.equal(op.seen.find(entry => entry.path === '/auth').query.response_mode, 'form_post')
  assert.equal(callback.count, 1)
  assert.deepEqual(await logins(), [])

  // The way that is not configured is closed, whatever it brings.
  const answer = await page.goto(new URL('/auth/callback?code=x&state=y', page.url()).href)
  assert.ok(answer.status() >= 400 || /\/(site|auth)\//.test(page.url()), `${answer.status()} ${page.url()}`)
})

test('L13 pushed requests: the browser carries a reference, nothing else', async t => {
  const { tab, op } = await openChromium(t, { pushed: true })
  const page = await tab()
  await signIn(page, 'ann')
  assert.equal(op.count('/request'), 1)
  const { query: sent } = op.seen.find(entry => entry.path === '/auth')
  assert.deepEqual(Object.keys(sent).sort(), ['client_id', 'request_uri'])
})

test('L1 L2 L4 L5 L15 what the browser carries to the provider', async t => {
  const { tab, op, app } = await openChromium(t)
  await tab('/site/notes')
  const { query: sent } = op.seen.find(entry => entry.path === '/auth')
  assert.equal(sent.response_type, 'code')
  assert.equal(sent.code_challenge_method, 'S256')
  assert.equal(sent.code_challenge.length, 43)
  assert.equal(sent.redirect_uri, `${app}/auth/callback`)
  assert.equal(sent.resource, 'https://api.example.test')
  assert.ok(sent.state.length >= 22 && sent.nonce.length >= 22 && sent.state !== sent.nonce)
})

test('CB5 a refusal at the provider is a page with a way on, and escaped', async t => {
  const { tab, op, ticket } = await openChromium(t)
  const page = await tab('/site/notes')
  await page.getByRole('button', { name: 'Refuse' }).click()
  const again = page.getByRole('link', { name: 'Try again' })
  await again.waitFor()
  assert.match(page.url(), /^https:\/\/app\.test/)
  assert.equal(op.count('/token'), 0, 'no code, no token request')
  assert.equal(await ticket(), undefined)
  assert.equal(await page.locator('b', { hasText: 'no' }).count(), 0, 'the description is text')

  await again.click()
  await enter(page, 'ann')
  await until('the second try to sign in', ticket)
})

test('consent: refused or given at a provider that asks', async t => {
  const { tab } = await openChromium(t, { askConsent: true })
  const page = await tab('/site/notes')
  await enter(page, 'ann')
  await page.getByRole('button', { name: 'Allow' }).click()
  await page.getByRole('heading', { name: 'Notes of ann' }).waitFor()
})

test('CB1 L6 a callback URL works once, and in the browser that began', async t => {
  const { tab, op, context, gateway, ticket } = await openChromium(t)
  const urls = []
  context.on('request', request => { if (request.url().includes('/auth/callback?')) urls.push(request.url()) })
  const page = await tab('/site/notes')
  await enter(page, 'ann')
  await page.getByRole('heading', { name: 'Notes of ann' }).waitFor()
  const tokens = op.count('/token')
  const before = await ticket()

  // Again, in the same browser: nothing is redeemed, the person is where they were.
  await page.goto(urls[0])
  await page.waitForURL(url => url.pathname !== '/auth/callback')
  assert.equal(await ticket(), before)
  // Somewhere else: no session.
  const { pathname, search } = new URL(urls[0])
  const stranger = await gateway.ask(pathname + search, { headers: { accept: 'text/html' } })
  assert.ok(!`${stranger.headers['set-cookie']}`.includes(`${cookieName}=`) || stranger.status >= 400, 'no session for a stranger')
  assert.equal(op.count('/token'), tokens, 'the code was redeemed once')
})
