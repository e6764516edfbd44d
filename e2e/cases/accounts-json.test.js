// All of it again by JSON, for a front end with forms of its own: the page is the app's, and no page of ours is opened.
import assert from 'node:assert/strict'
import { authenticator, code } from '../lib/authenticator.js'
import { secrets } from '../lib/leaks.js'
import { pair } from '../lib/pair.js'
import { startPostbox } from '../lib/postbox.js'
import { both, newPerson, openChromium, query, shows } from '../lib/stage.js'

const password = 'correct horse battery'
const next = 'quite another phrase'
const ann = 'ann@example.com'
for (const word of [password, next]) secrets.set(word, 'password')

/** Sends JSON from the page to one of our endpoints: { status, code of a problem, and what the answer says }. */
const ask = (page, path, body, method = body ? 'POST' : 'GET') => page.evaluate(async ([path, body, method]) => {
  const answer = await fetch(`/auth/${path}`, { method, ...body && { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) } })
  const text = await answer.text()
  const said = text ? JSON.parse(text) : {}
  return { status: answer.status, code: said.type?.replace('urn:cloakroom:', ''), ...said }
}, [path, body, method])

/** Like ask, where it has to be answered with a session. */
async function into(page, path, body) {
  const answer = await ask(page, path, body)
  assert.deepEqual([answer.status, answer.authenticated], [200, true], JSON.stringify(answer))
  return answer
}

/** Opens the link of the oldest letter, which is one of the app's own page, and returns the token that its script finds there. */
async function follow(page, { app }, post) {
  const { link } = await post.next()
  assert.ok(link.startsWith(`${app}/#token=`), link)
  await page.goto(link)
  const token = await page.evaluate(() => new URLSearchParams(location.hash.slice(1)).get('token'))
  secrets.set(token, 'mailed token')
  return token
}

both('U9 by JSON: register and verify, forget the password, set another on a page of the app, change it', async t => {
  const post = await startPostbox(t)
  const stage = await openChromium(t, { accounts: { ...post.config, reset_page: '/', verify_page: '/' } })
  const page = await stage.tab()
  assert.equal((await ask(page, 'register', { identifier: ann, password })).status, 202)
  assert.equal((await ask(page, 'login', { identifier: ann, password })).code, 'wrong_credentials')
  const welcome = await follow(page, stage, post)
  assert.equal((await ask(page, 'email/confirm', { token: welcome, password: next })).code, 'wrong_password')
  await into(page, 'email/confirm', { token: welcome, password })

  const other = await newPerson(t, stage)
  const phone = await other.tab()
  assert.equal((await ask(phone, 'password/forgot', { identifier: ann })).status, 202)
  const token = await follow(phone, stage, post)
  assert.equal((await ask(phone, 'password/reset', { token, password: 'password1' })).code, 'password_common')
  assert.equal((await ask(phone, 'password/reset', { token, password: next })).status, 204)
  assert.equal((await ask(phone, 'password/reset', { token, password })).code, 'link_over')
  assert.equal(await other.ticket(), undefined, 'nobody is signed in by a mail')
  assert.equal((await ask(page, 'session')).authenticated, false, 'the session from before is over')

  const { user } = await into(page, 'login', { identifier: ann, password: next })
  await into(page, 'password', { current_password: next, new_password: password })
  await page.reload()
  await shows(page, `signed in as ${user.sub}`)
  assert.deepEqual(await query(page), { me: { sub: user.sub } })
})

both('U13 by JSON: second step, recovery codes and a passkey', async t => {
  const stage = await openChromium(t, { accounts: {} })
  const page = await stage.tab()
  const device = await authenticator(page)
  await into(page, 'register', { identifier: ann, password })
  const { secret, offer } = await ask(page, 'authenticator', { current_password: password })
  const first = code(secret)
  const before = await stage.ticket()
  const { recovery_codes: codes } = await into(page, 'authenticator/confirm', { offer, code: first })
  for (const one of codes) secrets.set(one, 'recovery code')
  assert.equal(codes.length, 10)
  assert.notEqual(await stage.ticket(), before)

  const begun = await ask(page, 'passkeys', { current_password: password, code: codes[0] })
  const made = await page.evaluate(async options => {
    const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options)
    return (await navigator.credentials.create({ publicKey })).toJSON()
  }, begun.options)
  assert.equal((await ask(page, 'passkeys/finish', { ceremony: begun.ceremony, name: 'blue key', response: made })).status, 204)
  const factors = await ask(page, 'factors')
  assert.deepEqual([factors.recovery_codes, factors.passkeys.map(({ name }) => name)], [9, ['blue key']])

  const other = await newPerson(t, stage)
  const tab = await other.tab()
  assert.equal((await ask(tab, 'login', { identifier: ann, password })).code, 'code_required')
  assert.equal((await ask(tab, 'login', { identifier: ann, password, code: first })).code, 'wrong_code', 'a code works once')
  assert.equal(await other.ticket(), undefined)
  const { user } = await into(tab, 'login', { identifier: ann, password, code: codes[1] })
  assert.deepEqual(await query(await reloaded(tab)), { me: { sub: user.sub } })

  const third = await newPerson(t, stage)
  const away = await third.tab()
  const copy = await authenticator(away)
  await copy.give((await device.credentials())[0])
  const login = await ask(away, 'login/passkey', { remember: true })
  const used = await away.evaluate(async options => {
    const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options)
    return (await navigator.credentials.get({ publicKey })).toJSON()
  }, login.options)
  await into(away, 'login/passkey/finish', { state: login.state, ceremony: login.ceremony, response: used })
  assert.deepEqual(await query(await reloaded(away)), { me: { sub: user.sub } })

  await into(page, 'authenticator/remove', { current_password: password, code: codes[2] })
  assert.equal((await ask(away, 'session')).authenticated, false, 'other sessions end')
  await into(tab, 'login', { identifier: ann, password })
})

both('by JSON: my devices, one is signed out, then all of them', async t => {
  const stage = await openChromium(t, { accounts: {} })
  const page = await stage.tab()
  await into(page, 'register', { identifier: ann, password })
  const other = await newPerson(t, stage)
  const tab = await other.tab()
  await into(tab, 'login', { identifier: ann, password })
  if (pair.storage === 'store') {
    const { sessions } = await ask(page, 'sessions')
    assert.deepEqual(sessions.map(({ current, browser }) => [current, browser]), [[true, 'Chromium'], [false, 'Chromium']])
    assert.equal((await ask(page, `sessions/${sessions[1].id}`, undefined, 'DELETE')).status, 204)
    assert.equal((await ask(tab, 'session')).authenticated, false)
    await into(tab, 'login', { identifier: ann, password })
  } else {
    assert.equal((await ask(page, 'sessions')).code, 'unlisted')
  }
  const answer = await page.evaluate(async () => (await fetch('/auth/logout?everywhere=1', { method: 'POST' })).status)
  assert.equal(answer, 200)
  assert.equal((await ask(tab, 'session')).authenticated, false)
  assert.equal(await stage.ticket(), undefined)
})

const reloaded = async page => {
  await page.reload()
  return page
}
