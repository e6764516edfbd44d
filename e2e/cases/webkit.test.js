// The login once in WebKit, over plain WebDriver. The app is https://localhost here: WebKitGTK asks the machine for names
// and has no option for others. The provider, 127.0.0.1, is still another site.
import assert from 'node:assert/strict'
import { cookieName } from '../lib/gateway.js'
import { pair } from '../lib/pair.js'
import { open, test } from '../lib/stage.js'
import { startWebKit } from '../lib/webdriver.js'

test('WebKit: CB8 sign in, query, sign out', async t => {
  const { app, op } = await open(t, { host: 'localhost' })
  const page = await startWebKit(t)
  await page.goto(`${app}/site/notes`)
  await page.shows('h1', 'Sign in')
  await page.fill('input[name=username]', 'ann')
  await page.click('button')
  await page.shows('h1', 'Notes of ann')
  assert.equal(op.count('/auth'), 1, 'no loop')

  const session = (await page.cookies()).find(({ name }) => name === cookieName)
  assert.deepEqual([session.httpOnly, session.secure], [true, true])

  await page.goto(app)
  await page.shows('#who', 'signed in as ann')
  const readable = (await page.evaluate('document.cookie')).split('; ').filter(Boolean).map(one => one.split('=')[0])
  assert.deepEqual(readable, pair.tokenCookies().filter(({ readable }) => readable).map(({ name }) => name))
  assert.deepEqual(await page.evaluateAsync("window.app.query('{ me { sub } }').then(done, done)"), { me: { sub: 'ann' } })
  await page.click('#logout')
  await page.shows('h1', 'Sign out?')
  await page.click('button')
  await page.goto(app)
  await page.shows('#who', 'signed out')
})
