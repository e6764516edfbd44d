// What people see of their account, from the first mail to the last device. Sessions in cookies alone (sealed) must not make it another.
import assert from 'node:assert/strict'
import { authenticator } from '../lib/authenticator.js'
import { secrets } from '../lib/leaks.js'
import { pair } from '../lib/pair.js'
import { startPostbox } from '../lib/postbox.js'
import { both, newPerson, openChromium, query, shows } from '../lib/stage.js'

const password = 'correct horse battery'
const next = 'quite another phrase'
const ann = 'ann@example.com'
for (const word of [password, next]) secrets.set(word, 'password')

/** People of our own who get mail, and one of them with a browser. */
async function openWithMail(t, accounts) {
  const post = await startPostbox(t)
  const stage = await openChromium(t, { accounts: { ...post.config, ...accounts } })
  return { ...stage, post }
}

/** Takes the oldest letter, and notes what it holds: none of it may be in a log or a database. */
async function read(post) {
  const letter = await post.next()
  for (const [secret, kind] of [[letter.link?.split('token=')[1], 'mailed token']]) if (secret) secrets.set(secret, kind)
  return letter
}

const press = (page, name) => page.getByRole('button', { name, exact: true }).click()

async function fill(page, fields) {
  for (const [label, text] of Object.entries(fields)) await page.getByLabel(label, { exact: true }).fill(text)
}

/** Signs in on the page that is open. */
async function enter(page, word = password, address = ann) {
  await fill(page, { 'E-mail address': address, Password: word })
  await press(page, 'Sign in')
}

/** Registers, follows the link of the mail in the same browser, and is at path then. */
async function join({ app, post }, page, path = '/auth/account') {
  await page.goto(`${app}/auth/register?return_to=${encodeURIComponent(path)}`)
  await fill(page, { 'E-mail address': ann, Password: password })
  await press(page, 'Create account')
  await page.getByRole('heading', { name: 'Look into your mail' }).waitFor()
  const letter = await read(post)
  assert.equal(letter.to.includes(ann), true)
  await page.goto(letter.link)
  await press(page, 'Confirm')
  await page.waitForURL(`**${path}`)
  return letter
}

both('U9 register and verify by mail, sign in, stay signed in, change the password, sign out everywhere', async t => {
  const stage = await openWithMail(t)
  const page = await stage.tab()
  await page.getByRole('button', { name: 'Sign up' }).click()
  await fill(page, { 'E-mail address': ann, Password: password })
  await press(page, 'Create account')
  await page.getByRole('heading', { name: 'Look into your mail' }).waitFor()
  const { link, subject } = await read(stage.post)
  assert.match(subject, /^Confirm your address at app\.test/)
  assert.equal(await stage.ticket(), undefined, 'nobody is signed in before')

  await page.goto(link)
  await press(page, 'Confirm')
  const who = await page.locator('#who').getByText(/^signed in as .{22}$/).textContent()
  assert.deepEqual(await query(page), { me: { sub: who.replace('signed in as ', '') } })
  await page.goto(link)
  await page.getByRole('heading', { name: 'This link is over' }).waitFor()

  // Elsewhere, with the box ticked: the cookie outlives the browser.
  const other = await newPerson(t, stage)
  const tab = await other.tab()
  await tab.getByRole('button', { name: 'Sign in' }).click()
  await tab.getByLabel('Stay signed in on this device').check()
  await enter(tab)
  await shows(tab, who)
  const lasting = cookies => cookies.filter(({ name }) => name === pair.session).map(({ expires }) => expires > 0)
  assert.deepEqual([lasting(await other.session()), lasting(await stage.session())], [[true], [false]])

  await page.goto(`${stage.app}/auth/account/password`)
  await fill(page, { 'Current password': password, 'New password': next })
  await press(page, 'Change password')
  await page.getByRole('status').getByText('Your password was changed.').waitFor()
  await tab.reload()
  await shows(tab, 'signed out')

  await tab.getByRole('button', { name: 'Sign in' }).click()
  await enter(tab, password)
  await tab.locator('#password[aria-invalid]:focus').waitFor()
  await enter(tab, next)
  await shows(tab, who)
  await press(page, 'Sign out everywhere')
  await page.waitForURL('**/auth/signed-out**')
  await tab.reload()
  await shows(tab, 'signed out')
})

both('U9 U13 register with a passkey alone: the mailed link makes the account, and elsewhere asks for that passkey', async t => {
  const stage = await openWithMail(t)
  const page = await stage.tab()
  const device = await authenticator(page)
  await page.goto(`${stage.app}/auth/register?return_to=/auth/account`)
  await page.getByRole('link', { name: 'Use a passkey instead' }).click()
  await fill(page, { 'E-mail address': ann })
  await press(page, 'Continue')
  await press(page, 'Make the passkey')
  await page.getByRole('heading', { name: 'Look into your mail' }).waitFor()
  const { link } = await read(stage.post)

  const other = await newPerson(t, stage)
  const tab = await other.tab()
  const copy = await authenticator(tab)
  await tab.goto(link)
  await press(tab, 'Confirm with the passkey')
  await tab.getByRole('alert').getByText('Nothing was confirmed.').waitFor() // whoever clicked has none
  await copy.give((await device.credentials())[0])
  await press(tab, 'Confirm with the passkey')
  await tab.getByRole('heading', { name: 'Your account is ready' }).waitFor()
  assert.equal(await other.ticket(), undefined, 'nobody is signed in by it')
  await tab.goto(`${stage.app}/auth/login?return_to=/auth/account`) // offered in the field, and chosen there
  await tab.getByText('None. You sign in with a passkey').waitFor()
  await page.goto(link)
  await page.getByRole('heading', { name: 'This link is over' }).waitFor()
})

both('U9 a forgotten password: the mailed link works on another device, once, and ends every session', async t => {
  const stage = await openWithMail(t)
  const page = await stage.tab()
  await join(stage, page)
  const other = await newPerson(t, stage)
  const phone = await other.tab('/auth/login?return_to=/auth/account')
  await phone.getByRole('link', { name: 'I forgot my password' }).click()
  await fill(phone, { 'E-mail address': ann })
  await press(phone, 'Send the mail')
  await phone.getByRole('heading', { name: 'Look into your mail' }).waitFor()
  const { link } = await read(stage.post)

  await page.goto(link)
  assert.equal(await page.locator('input[autocomplete=username]').inputValue(), ann, 'password managers know whose password it is')
  await fill(page, { 'New password': 'password1' })
  await press(page, 'Set the password')
  await page.locator('#password[aria-invalid]:focus').waitFor()
  await fill(page, { 'New password': next })
  await press(page, 'Set the password')
  await page.getByRole('heading', { name: 'The new password is set' }).waitFor()
  await phone.goto(link)
  await phone.getByRole('heading', { name: 'This link is over' }).waitFor()

  await page.goto(`${stage.app}/auth/account`)
  await page.getByRole('heading', { name: 'Sign in' }).waitFor() // the session from before is over
  await enter(page, next)
  await page.getByRole('heading', { name: 'Your account' }).waitFor()
})

both('U9 another address, and signing in by a mailed code and by a mailed link', async t => {
  const moved = 'ann.king@example.com'
  const stage = await openWithMail(t, { email_link: true })
  const page = await stage.tab()
  await join(stage, page)
  await page.getByRole('link', { name: 'Change' }).first().click()
  await fill(page, { 'New e-mail address': moved, Password: password })
  await press(page, 'Send the mail')
  await page.getByRole('heading', { name: 'Look into your mail' }).waitFor()
  const change = await read(stage.post)
  assert.ok(change.to.includes(moved))
  await page.goto(change.link)
  await fill(page, { Password: password })
  await press(page, 'Confirm')
  await page.getByRole('heading', { name: 'Your address is changed' }).waitFor()
  assert.match((await read(stage.post)).subject, /was changed/)

  const ask = async tab => {
    await tab.goto(`${stage.app}/auth/login?return_to=/auth/account`)
    await tab.getByRole('link', { name: 'Sign in by mail' }).click()
    await fill(tab, { 'E-mail address': moved })
    await press(tab, 'Send the mail')
    await tab.locator('#code:focus').waitFor()
    return read(stage.post)
  }
  await page.context().clearCookies()
  const { code } = await ask(page)
  await page.locator('#code').fill(code)
  await page.keyboard.press('Enter')
  await page.getByText(moved).waitFor()
  await page.getByRole('heading', { name: 'Your account' }).waitFor()

  const other = await newPerson(t, stage)
  const tab = await other.tab()
  const { link } = await ask(tab)
  const elsewhere = await (await newPerson(t, stage)).tab(new URL(link).pathname + new URL(link).search)
  await elsewhere.getByText('asked for in another browser').waitFor()
  await tab.goto(link)
  await press(tab, 'Sign in')
  await tab.getByRole('heading', { name: 'Your account' }).waitFor()
  await press(elsewhere, 'Sign in')
  await elsewhere.getByRole('heading', { name: 'This link is over' }).waitFor()
})
