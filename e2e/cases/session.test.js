import assert from 'node:assert/strict'
import { cookieName } from '../lib/gateway.js'
import { until } from '../lib/run.js'
import { enter, newPerson, openChromium, query, shows, signIn, signOut, smoke, test, watch } from '../lib/stage.js'

test('CB9 a login over an existing session ends the old one, though Strict cookies do not reach the callback', async t => {
  const { tab, context, app, gateway, ticket } = await openChromium(t)
  const page = await tab()
  await signIn(page, 'ann')
  const old = await ticket()
  const [start, callback] = ['/auth/login', '/auth/callback'].map(path => watch(context, path))

  await page.goto(`${app}/auth/login?prompt=login&return_to=/`)
  await enter(page, 'bob')
  await shows(page, 'signed in as bob')

  const [began] = await start.cookies()
  const [answered] = await callback.cookies()
  assert.ok(!answered.includes(`${cookieName}=`), 'the callback comes without the session')
  assert.match(answered, /__Host-Http-login\./)
  assert.equal(typeof began, 'string')
  assert.notEqual(await ticket(), old)
  assert.equal(await gateway.knows(old), false, 'the old ticket is worth nothing')
  assert.deepEqual(await query(page), { me: { sub: 'bob' } })
  assert.equal(gateway.audit('replaced').length, 1)
})

test('accident: session fixation. CB9 a ticket planted before the login is not taken over, and ends', async t => {
  const attacker = await openChromium(t)
  const { app, gateway } = attacker
  await signIn(await attacker.tab(), 'bob')
  const planted = await attacker.session()
  const ticket = await attacker.ticket()

  const victim = await newPerson(t, attacker)
  await victim.context.addCookies(planted)
  const page = await victim.tab(`/auth/login?return_to=/`)
  await enter(page, 'ann')
  await shows(page, 'signed in as ann')
  assert.notEqual(await victim.ticket(), ticket)
  assert.equal(await gateway.knows(ticket), false)
})

test('accident: session fixation. A made-up ticket is ignored, and the login works', async t => {
  const { app, tab, context, ticket } = await openChromium(t)
  await context.addCookies([{ name: cookieName, value: 'A'.repeat(80), url: app, secure: true, httpOnly: true, sameSite: 'Strict' }])
  const page = await tab('/site/notes')
  await enter(page, 'ann')
  await page.getByRole('heading', { name: 'Notes of ann' }).waitFor()
  assert.doesNotMatch(await ticket(), /=A{80}/)
})

smoke('the back button after logout shows nothing of the person', async t => {
  const { tab, op, app, ticket, gateway } = await openChromium(t)
  const page = await tab('/site/notes')
  await enter(page, 'ann')
  await page.getByRole('heading', { name: 'Notes of ann' }).waitFor()
  await page.goto(app)
  await shows(page, 'signed in as ann')
  const old = await ticket()
  await signOut(page)
  await page.waitForURL('**/auth/signed-out**')
  assert.equal(await gateway.knows(old), false)

  const asked = op.count('/auth')
  await page.evaluate(() => { setTimeout(() => history.go(-2)) }) // over the provider's page, which would only lead here again
  await page.waitForURL(`${app}/`, { waitUntil: 'commit' }) // a page out of the back/forward cache does not load
  await shows(page, 'signed out')
  assert.equal(op.count('/auth'), asked, 'going back signs nobody in')
  await page.evaluate(() => { setTimeout(() => history.back()) })
  await page.waitForURL('**/interaction/*', { waitUntil: 'commit' }) // the site needs a session: to the login
  assert.equal(await page.getByText('Notes of ann').count(), 0)
})

test('O2 O3 signing out revokes the refresh token and ends the session at the provider', async t => {
  const { tab, op, app } = await openChromium(t)
  const page = await tab()
  await signIn(page)
  assert.equal((await op.liveRefreshTokens()).length, 1)
  await signOut(page)
  await page.waitForURL('**/auth/signed-out**')
  assert.equal((await op.liveRefreshTokens()).length, 0)
  const { query: end } = op.seen.find(entry => entry.path === '/session/end')
  assert.equal(end.client_id, 'app')
  assert.equal(end.post_logout_redirect_uri, `${app}/auth/signed-out`)
  assert.ok(end.id_token_hint)
  await page.goto(`${app}/auth/login?return_to=/`)
  await enter(page, 'bob') // the provider asks again: it has forgotten ann
  await shows(page, 'signed in as bob')
})

test('O10 logout empties the cache and leaves what the app keeps', async t => {
  const { tab, context, app } = await openChromium(t)
  const page = await tab()
  await signIn(page)
  await page.evaluate(() => localStorage.setItem('draft', 'unsent'))
  const cleared = []
  context.on('response', async answer => { cleared.push((await answer.allHeaders())['clear-site-data']) })
  await signOut(page)
  await page.waitForURL('**/auth/signed-out**')
  assert.deepEqual([...new Set(cleared.filter(Boolean))], ['"cache"'])
  await page.goto(app)
  assert.equal(await page.evaluate(() => localStorage.getItem('draft')), 'unsent')
})

test('O4 the way back from the provider survives a lost or altered state', async t => {
  const { tab, app } = await openChromium(t)
  const page = await tab()
  for (const state of ['', '?state=', '?state=altered', '?state=https://evil.test/']) {
    const answer = await page.goto(`${app}/auth/signed-out${state}`)
    assert.ok(answer.status() < 400, `${answer.status()} for ${state}`)
    assert.equal(new URL(page.url()).origin, app)
  }
})

test('a form without a script signs out as well', async t => {
  const { tab, app, ticket } = await openChromium(t)
  const page = await tab()
  await signIn(page)
  await page.evaluate(() => {
    const form = Object.assign(document.createElement('form'), { method: 'post', action: '/auth/logout' })
    document.body.append(form)
    form.submit()
  })
  await page.waitForURL('**/session/end*')
  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.waitForURL(`${app}/auth/signed-out**`)
  assert.equal(await ticket(), undefined)
})

test('C11 remember: the cookie outlives the browser, up to the end of the session', async t => {
  const { tab, context, app } = await openChromium(t)
  const page = await tab()
  await page.evaluate(() => window.app.auth.login({ remember: true }))
  await enter(page, 'ann')
  await shows(page, 'signed in as ann')
  const { expires } = (await context.cookies(app)).find(({ name }) => name === cookieName)
  const { expires_at } = await page.evaluate(() => window.app.auth.session())
  assert.ok(Math.abs(expires - Date.parse(expires_at) / 1000) < 5, `until ${expires}, the session until ${expires_at}`)
})

test('signing out everywhere ends the sessions of all browsers', async t => {
  const here = await openChromium(t)
  const elsewhere = await newPerson(t, here)
  const [page, other] = [await here.tab(), await elsewhere.tab()]
  await signIn(page)
  await signIn(other)
  await page.evaluate(() => window.app.auth.logout({ everywhere: true }))
  await page.waitForURL('**/session/end*')
  await other.reload()
  await shows(other, 'signed out')
})

test('after a sign-out the app says where to go', async t => {
  const { tab, app } = await openChromium(t)
  const page = await tab()
  await signIn(page)
  await page.evaluate(() => window.app.auth.logout({ returnTo: '/goodbye' }))
  await page.waitForURL('**/session/end*')
  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.waitForURL(`${app}/goodbye`)
})

test('who may not enter gets a page that says so, and a way to sign in as someone else', async t => {
  const { tab, ticket } = await openChromium(t, { config: { allow: { claims: { sub: ['bob'] } } } })
  const page = await tab('/site/notes')
  await enter(page, 'ann')
  await page.getByRole('link', { name: /someone else/i }).click()
  assert.equal(await ticket(), undefined)
  await enter(page, 'bob')
  await until('bob to be let in', ticket)
})
