// A renewal brings a new ticket once the old one was in use for a minute. These cases wait for that, side by side.
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { pair } from '../lib/pair.js'
import { until } from '../lib/run.js'
import { expire, fetchFrom, openChromium, query, signIn, test } from '../lib/stage.js'

const accessTTL = 68 // seconds

describe('rotation', { concurrency: 3 }, () => {
  test('T5 an answer that is a minute late does not undo a renewal', async t => {
    const { tab, op, api, ticket } = await openChromium(t, { accessTTL })
    const page = await tab()
    await signIn(page)
    const release = api.hold('/api/slow')
    await page.evaluate(() => { window.slow = window.app.fetch('/api/slow').then(answer => answer.status) })
    await until('the slow request to reach the API', () => api.count('/api/slow') === 1)
    const old = await ticket()

    await expire(page)
    await query(page)
    assert.equal(op.refreshes(), 1)
    const renewed = await ticket()
    assert.notEqual(renewed, old, 'a renewal brings a new ticket')

    release()
    assert.equal(await page.evaluate(() => window.slow), 200)
    assert.equal(await ticket(), renewed)
    await query(page)
    assert.equal(op.refreshes(), 1)
  })

  test('P10 an upstream that sends 103 first does not lose our cookie', async t => {
    const { tab, api, ticket, op } = await openChromium(t, { accessTTL })
    const page = await tab()
    await signIn(page)
    await query(page)
    const old = await ticket()
    await expire(page)
    const { status, body } = await fetchFrom(page, '/api/early')
    assert.deepEqual([status, JSON.parse(body)], [200, { sub: 'ann', early: true }])
    assert.equal(api.count('/api/early'), 1)
    assert.equal(op.refreshes(), 1)
    assert.notEqual(await ticket(), old)
    await query(page)
  })

  test('accident: a Set-Cookie in a cache. H1 P9 an answer with a cookie is no-store, and ours cannot be forged', async t => {
    const { tab, ticket, gateway, context, app } = await openChromium(t, { accessTTL })
    const page = await tab()
    await signIn(page)
    await query(page)
    const old = await ticket()
    await expire(page)
    const answer = await gateway.askAPI('/api/cacheable', { cookie: old })
    assert.equal(answer.status, 200)
    const cookies = answer.headers['set-cookie']
    // With memory it was the token that was asked for before which brought it.
    if (pair.delivery !== 'memory') assert.ok(cookies.some(text => text.startsWith(`${pair.session}=`)), 'the renewal brought a cookie')
    assert.ok(!cookies.some(text => text.includes('=upstream')), "the upstream's cookie of our name is dropped")
    assert.ok(cookies.some(text => text.startsWith('theme=dark')), 'its own cookie passes')
    assert.match(answer.headers['cache-control'], /no-store/)
    assert.doesNotMatch(answer.headers['cache-control'], /public|max-age=3600/)

    await fetchFrom(page, '/api/cacheable')
    const foreign = (await context.cookies(app)).map(({ name }) => name).filter(name => !pair.isSession(name) && !pair.tokenCookies().some(token => token.name === name))
    assert.deepEqual(foreign, ['theme'])
    await query(page)
  })
})
