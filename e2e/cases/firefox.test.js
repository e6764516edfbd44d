// The login once in Firefox, over WebDriver BiDi.
import assert from 'node:assert/strict'
import { cookieName } from '../lib/gateway.js'
import { pair } from '../lib/pair.js'
import { startFirefox } from '../lib/firefox.js'
import { until } from '../lib/run.js'
import { open, test } from '../lib/stage.js'

test('Firefox: CB8 sign in, query, sign out', async t => {
  const { app, op } = await open(t)
  const browser = await startFirefox(t, 'app.test')
  const page = await browser.newPage()
  await page.goto(`${app}/site/notes`)
  await page.locator('input[name=username]').fill('ann')
  await page.locator('button').click()
  // Puppeteer's waitForFunction polls by eval, which the policy of our own pages on the way forbids.
  const sees = (what, look, wanted) => until(what, async () => {
    try {
      return (await page.evaluate(look)) === wanted
    } catch {
      return false // the page is on its way to the next one
    }
  }, { within: 30_000, every: 100 })
  await sees('the notes', () => document.querySelector('h1')?.textContent, 'Notes of ann')
  assert.equal(op.count('/auth'), 1, 'no loop')

  const cookies = await browser.cookies()
  const session = cookies.find(({ name }) => name === cookieName)
  assert.deepEqual([session.httpOnly, session.secure, session.sameSite], [true, true, 'Strict'])
  assert.ok(!cookies.some(({ name }) => name.includes('login.')), 'the login cookie is gone')

  await page.goto(app)
  const shows = text => sees(text, () => document.getElementById('who')?.textContent, text)
  await shows('signed in as ann')
  assert.deepEqual(await page.evaluate(() => window.app.query('{ me { sub } }')), { me: { sub: 'ann' } })
  const readable = (await page.evaluate(() => document.cookie)).split('; ').filter(Boolean).map(one => one.split('=')[0])
  assert.deepEqual(readable, pair.tokenCookies().filter(({ readable }) => readable).map(({ name }) => name))
  await page.locator('#logout').click()
  await sees('the question', () => document.title, 'Sign out?')
  await page.locator('button').click()
  await sees('the end', () => location.pathname, '/auth/signed-out')
  await page.goto(app)
  await shows('signed out')
})
