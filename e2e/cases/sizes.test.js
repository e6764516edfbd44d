// What the browser keeps is bounded: sessions of several cookies, and what fits into none.
import assert from 'node:assert/strict'
import { pair } from '../lib/pair.js'
import { enter, expire, openChromium, query, shows, signIn, signOut, test } from '../lib/stage.js'

test('C4 C5 S9 a session of several cookies: reload, renewal, sign out', async t => {
  const { tab, session, gateway, ticket, op } = await openChromium(t, { idPadding: 1800, accessTTL: 5 })
  const page = await tab()
  await signIn(page)
  const check = async () => {
    const cookies = await session()
    assert.ok(cookies.filter(({ name }) => /\.\d$/.test(name)).length > 1, `${cookies.map(({ name }) => name)}`)
    const sizes = cookies.map(({ name, value }) => name.length + value.length)
    assert.ok(Math.max(...sizes) <= 4096 && sizes.reduce((a, b) => a + b) <= 6 << 10, `${sizes}`)
    return ticket()
  }
  const first = await check()
  await page.reload()
  await shows(page, 'signed in as ann')
  await expire(page)
  assert.deepEqual(await query(page), { me: { sub: 'ann' } })
  assert.equal(op.refreshes(), 1)
  assert.notEqual(await check(), first)
  await signOut(page)
  await page.waitForURL('**/auth/signed-out**')
  assert.deepEqual(await session(), [])
  assert.equal(await gateway.knows(first), false)
}, {
  store: {
    because: 'its ticket has 76 characters whatever the tokens weigh',
    async play(t) {
      const { tab, session } = await openChromium(t, { idPadding: 9000 })
      const page = await tab()
      await signIn(page)
      assert.deepEqual((await session()).map(({ value }) => value.length), [76])
    },
  },
})

/** A login that fails says so in plain words, leaves no session, and tells the operator what would fit. */
async function doesNotFit(t, options) {
  const { tab, session, tokenCookies, gateway } = await openChromium(t, options)
  const page = await tab('/site/notes')
  await enter(page, 'ann')
  await page.getByText('This sign-in does not fit').first().waitFor()
  assert.deepEqual([...await session(), ...await tokenCookies()], [])
  const line = gateway.output().split('\n').find(text => text.includes('"code":"session_too_large"'))
  assert.match(JSON.parse(line).hint, /tokens/)
  await page.goto(new URL('/', page.url()).href)
  await shows(page, 'signed out')
}

test('C5 a session that does not fit fails at the login, with a page', t => doesNotFit(t, { idPadding: 9000 }), {
  store: { because: 'a store keeps any size', play: t => fits(t, { idPadding: 9000 }) },
})

const large = { accessPadding: 4500 }
const why = pair.storage === 'store' && !pair.inCookies && { because: `${pair.name} keeps no token in a cookie`, play: t => fits(t, large) }
test('C5 an access token that does not fit fails at the login, with a page', t => doesNotFit(t, large), why ? { store: why } : {})

async function fits(t, options) {
  const { tab } = await openChromium(t, options)
  const page = await tab()
  await signIn(page)
  assert.deepEqual(await query(page), { me: { sub: 'ann' } })
}
