import assert from 'node:assert/strict'
import { until } from '../lib/run.js'
import { endElsewhere, enter, openChromium, query, shows, signIn, signOut, smoke, test, watch } from '../lib/stage.js'

for (const [name, order] of [['in the order they began', [0, 1, 2]], ['in the reverse order', [2, 1, 0]]]) {
  test(`L8 three tabs sign in at once, finished ${name}`, async t => {
    const { tab, logins, app } = await openChromium(t)
    const tabs = []
    for (const n of [0, 1, 2]) tabs.push(await tab(`/site/notes?tab=${n}`))
    assert.equal((await logins()).length, 3)
    for (const n of order) {
      await enter(tabs[n], 'ann')
      await tabs[n].getByRole('heading', { name: 'Notes of ann' }).waitFor()
      assert.equal(tabs[n].url(), `${app}/site/notes?tab=${n}`)
    }
    assert.deepEqual(await logins(), [], 'nothing but the session is left')
    for (const page of tabs) {
      await page.reload()
      await page.getByRole('heading', { name: 'Notes of ann' }).waitFor()
    }
  })
}

smoke('O11 signing out in one tab is seen by the other', async t => {
  const { tab, op } = await openChromium(t)
  const [one, other] = [await tab(), await tab()]
  await signIn(one)
  await shows(other, 'signed in as ann') // signing in is seen as well
  const asked = op.count('/auth')
  await signOut(one)
  await until('the other tab to show it', () => other.locator('#who').textContent().then(text => text === 'signed out'), { within: 2000 })
  assert.deepEqual(await other.evaluate(() => window.app.events), ['change', 'change'])
  assert.equal(op.count('/auth'), asked, 'the other tab is not sent to a login')
})

test('another person signing in in one tab is a change in the other', async t => {
  const { tab, app } = await openChromium(t)
  const [one, other] = [await tab(), await tab()]
  await signIn(one, 'ann')
  await shows(other, 'signed in as ann')
  await one.goto(`${app}/auth/login?prompt=login&return_to=/`)
  await enter(one, 'bob')
  await shows(one, 'signed in as bob')
  await shows(other, 'signed in as bob')
  assert.deepEqual(await other.evaluate(() => window.app.events), ['change', 'change'])
})

test('fifty calls that fail at once lead to one navigation, and back', async t => {
  const stage = await openChromium(t)
  const { tab, op, context, app } = stage
  const page = await tab('/?draft=7')
  await signIn(page)
  await endElsewhere(stage)
  const logins = watch(context, '/auth/login')
  const asked = op.count('/auth')
  await page.evaluate(() => {
    window.before = true // gone once the page was left
    for (let n = 0; n < 50; n++) window.app.auth.fetch('/api/whoami')
  })
  await page.waitForFunction(() => !window.before) // the provider still knows ann: it asks nothing
  await page.waitForURL(`${app}/?draft=7`)
  await shows(page, 'signed in as ann')
  assert.equal(logins.count, 1)
  assert.equal(op.count('/auth'), asked + 1)
  await query(page)
})

test('a listener of expired keeps the page', async t => {
  const stage = await openChromium(t)
  const page = await stage.tab()
  await signIn(page)
  await endElsewhere(stage)
  const logins = watch(stage.context, '/auth/login')
  const status = await page.evaluate(async () => {
    window.app.auth.on('expired', event => event.preventDefault())
    return (await window.app.auth.fetch('/api/whoami')).status
  })
  assert.equal(status, 401)
  assert.equal(logins.count, 0)
})
