import assert from 'node:assert/strict'
import { until } from '../lib/run.js'
import { endElsewhere, expire, openChromium, query, shows, signIn, smoke, test } from '../lib/stage.js'

smoke('R1 a token that is over is renewed by the next write, and by what is read behind it', async t => {
  const { tab, op, api } = await openChromium(t, { accessTTL: 5 })
  const page = await tab()
  await signIn(page)
  await page.locator('#add input').fill('late')
  await expire(page)
  await page.getByRole('button', { name: 'Add' }).click()
  await page.getByText('late').waitFor()
  assert.deepEqual(api.notes, [{ text: 'late', by: 'ann' }])
  assert.ok(op.refreshes() >= 1) // on a slow machine the token may be over once more
})

test('R1 tokens expire under 50 parallel queries: one refresh, no failed query', async t => {
  const { tab, op } = await openChromium(t, { accessTTL: 15 }) // long enough for 50 queries on a busy machine
  const page = await tab()
  await signIn(page)
  await expire(page)
  assert.equal(op.refreshes(), 0)
  const answers = await page.evaluate(() => Promise.all(Array.from({ length: 50 }, () => window.app.query('{ me { sub } }'))))
  assert.equal(answers.length, 50)
  assert.ok(answers.every(({ me }) => me.sub === 'ann'))
  assert.equal(op.refreshes(), 1)
})

test('accident: a session revived after logout by a renewal in flight', async t => {
  const stage = await openChromium(t, { accessTTL: 3 })
  const { tab, op, gateway, ticket } = stage
  const page = await tab()
  await signIn(page)
  await expire(page)
  const asked = op.count('/token')
  const answer = op.hold('/token')
  await page.evaluate(() => { window.inFlight = window.app.fetch('/api/whoami').then(answer => answer.status) })
  await until('the renewal to reach the provider', () => op.count('/token') === asked + 1)
  const old = await ticket()

  await endElsewhere(stage)
  answer() // the provider rotates only now
  assert.equal(await page.evaluate(() => window.inFlight), 401)
  assert.equal(await gateway.knows(old), false)
  const now = await ticket()
  if (now) assert.equal(await gateway.knows(now), false)
  await until('the new tokens to be revoked', async () => (await op.liveRefreshTokens()).length === 0)
  await page.reload()
  await shows(page, 'signed out')
})

test('accident: a session revived after logout by an answer in flight', async t => {
  const stage = await openChromium(t)
  const { tab, api, gateway, ticket } = stage
  const page = await tab()
  await signIn(page)
  const release = api.hold('/api/slow')
  await page.evaluate(() => { window.slow = window.app.fetch('/api/slow').then(answer => answer.status) })
  await until('the slow request to reach the API', () => api.count('/api/slow') === 1)
  const old = await ticket()
  await endElsewhere(stage)
  release()
  await page.evaluate(() => window.slow)
  await page.reload()
  await shows(page, 'signed out')
  assert.equal(await gateway.knows(old), false)
})

test('T4 asking for the session renews nothing', async t => {
  const { tab, op } = await openChromium(t, { accessTTL: 3 })
  const page = await tab()
  await signIn(page)
  await expire(page)
  for (let n = 0; n < 5; n++) await page.evaluate(() => window.app.auth.session())
  assert.equal(op.refreshes(), 0)
})
