import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import { authenticator, code } from '../lib/authenticator.js'
import { secrets } from '../lib/leaks.js'
import { pair } from '../lib/pair.js'
import { run, until } from '../lib/run.js'
import { both, newPerson, openChromium, query, shows, smoke, test } from '../lib/stage.js'

const password = 'correct horse battery'
const ann = 'ann@example.com'
secrets.set(password, 'password')

/** Registers, and goes to the account. */
async function join(page, app) {
  await page.goto(`${app}/auth/register?return_to=/auth/account`)
  await page.getByLabel('E-mail address').fill(ann)
  await page.getByLabel('Password').fill(password)
  await page.getByRole('button', { name: 'Create account' }).click()
  await page.getByRole('heading', { name: 'Your account' }).waitFor()
}

async function addPasskey(page, name) {
  await page.getByRole('link', { name: 'Add a passkey' }).click()
  await page.getByLabel('Name of this passkey').fill(name)
  await page.getByLabel('Password').fill(password)
  await page.getByRole('button', { name: 'Continue' }).click()
  await page.getByRole('button', { name: 'Make the passkey' }).click()
  await page.getByRole('status').getByText('Your passkey was added.').waitFor()
}

smoke('U13 a passkey is made on the account page and signs in without a name; a person who is not verified stays outside', async t => {
  const stage = await openChromium(t, { accounts: {} })
  const page = await stage.tab()
  const device = await authenticator(page)
  await join(page, stage.app)
  await addPasskey(page, 'blue key')
  await page.getByText('blue key').waitFor()
  const [made] = await device.credentials()
  assert.deepEqual([made.rpId, made.isResidentCredential], ['app.test', true])
  await page.getByRole('button', { name: 'Sign out', exact: true }).last().click()
  await page.waitForURL('**/auth/signed-out**')

  const other = await newPerson(t, stage)
  const tab = await other.tab()
  const copy = await authenticator(tab, { automaticPresenceSimulation: false })
  await copy.give(made)
  await copy.verifies(false)
  await tab.getByRole('button', { name: 'Sign in' }).click()
  await tab.getByRole('button', { name: 'Use a passkey' }).waitFor()
  await copy.touched(true)
  await tab.getByRole('button', { name: 'Use a passkey' }).click()
  await tab.getByRole('alert').getByText('Nothing was signed in.').waitFor()
  assert.equal(await other.ticket(), undefined)
  await copy.verifies(true)
  await tab.getByRole('button', { name: 'Use a passkey' }).click()
  await tab.locator('#who').getByText(/^signed in as .{22}$/).waitFor()
  assert.ok((await query(tab)).me.sub)
})

test('U13 passkeys are offered where the name is filled in, and neither the button nor the password has to wait for that', async t => {
  const stage = await openChromium(t, { accounts: {} })
  const page = await stage.tab()
  const device = await authenticator(page)
  await join(page, stage.app)
  await addPasskey(page, 'blue key')
  const comes = async (touched, from) => {
    const person = await newPerson(t, stage)
    await person.context.addInitScript(() => {
      window.asked = []
      const { get } = CredentialsContainer.prototype
      CredentialsContainer.prototype.get = function (options) {
        const one = { mediation: options.mediation, aborted: false }
        options.signal?.addEventListener('abort', () => { one.aborted = true })
        window.asked.push(one)
        return get.call(this, options)
      }
    })
    const tab = await person.tab('/auth/account')
    const copy = await authenticator(tab, { automaticPresenceSimulation: touched })
    await copy.give((await from.credentials())[0]) // with its counter
    await tab.goto(`${stage.app}/auth/login?return_to=/auth/account`)
    return { tab, copy }
  }
  const waiting = tab => tab.waitForFunction(() => window.asked.length === 1)
  const asked = tab => tab.evaluate(() => window.asked)
  const inside = tab => tab.getByRole('heading', { name: 'Your account' }).waitFor()

  const { tab: chosen, copy: used } = await comes(true, device) // from the list below the field
  await inside(chosen)

  const { tab: pressed, copy } = await comes(false, used)
  await waiting(pressed)
  assert.deepEqual(await asked(pressed), [{ mediation: 'conditional', aborted: false }])
  assert.equal(await pressed.getByLabel('E-mail address').getAttribute('autocomplete'), 'username webauthn')
  await copy.touched(true)
  await copy.verifies(false)
  await pressed.getByRole('button', { name: 'Use a passkey' }).click()
  await pressed.getByRole('alert').getByText('Nothing was signed in.').waitFor()
  await pressed.waitForFunction(() => window.asked.length === 3)
  const [first, second, third] = await asked(pressed)
  assert.deepEqual([first, second.mediation, third.mediation], [{ mediation: 'conditional', aborted: true }, undefined, 'conditional'], 'one at a time, and offered again')
  await copy.verifies(true)
  await pressed.getByRole('button', { name: 'Use a passkey' }).click()
  await inside(pressed)

  const { tab: typed } = await comes(false, copy)
  await waiting(typed)
  await typed.getByLabel('E-mail address').fill(ann)
  await typed.getByLabel('Password').fill(password)
  await typed.getByRole('button', { name: 'Sign in', exact: true }).click()
  await inside(typed)
})

both('U8 U13 an account of a passkey alone: made, signed in to, a second one added after the first, the last one stays, a password set', async t => {
  const stage = await openChromium(t, { accounts: {} })
  const page = await stage.tab()
  const device = await authenticator(page)
  await page.goto(`${stage.app}/auth/register?return_to=/auth/account`)
  await page.getByRole('link', { name: 'Use a passkey instead' }).click()
  await page.getByLabel('E-mail address').fill(ann)
  await page.getByRole('button', { name: 'Continue' }).click()
  await page.getByRole('button', { name: 'Make the passkey' }).click()
  await page.getByText('None. You sign in with a passkey').waitFor()
  assert.equal(await page.getByRole('link', { name: 'Remove' }).count(), 0)
  const [made] = await device.credentials()

  const other = await newPerson(t, stage)
  const tab = await other.tab()
  const copy = await authenticator(tab)
  await copy.give(made)
  await tab.goto(`${stage.app}/auth/login?return_to=/auth/account`) // offered in the field, and chosen there
  await tab.getByRole('link', { name: 'Add a passkey' }).click()
  await tab.getByLabel('Name of this passkey').fill('spare')
  await tab.getByRole('button', { name: 'Continue' }).click()
  await tab.getByRole('button', { name: 'Continue' }).click()
  await tab.getByRole('heading', { name: 'Make the passkey' }).waitFor()
  await tab.goto(`${stage.app}/auth/account/password`)
  await tab.getByRole('button', { name: 'Continue' }).click()
  await tab.getByLabel('New password').fill(password)
  await tab.getByRole('button', { name: 'Set the password' }).click()
  await tab.getByRole('status').getByText('Your password was set.').waitFor()
})

test('U8 a passkey that was removed signs in no more', async t => {
  const stage = await openChromium(t, { accounts: {} })
  const page = await stage.tab()
  const device = await authenticator(page)
  await join(page, stage.app)
  await addPasskey(page, 'phone')
  await page.getByRole('link', { name: 'Remove' }).click()
  await page.getByLabel('Password').fill(password)
  await page.getByRole('button', { name: 'Remove' }).click()
  await page.getByRole('status').getByText('The passkey was removed.').waitFor()
  await device.touched(false)
  await page.goto(`${stage.app}/auth/login`)
  await page.getByRole('button', { name: 'Use a passkey' }).waitFor()
  await device.touched(true)
  await page.getByRole('button', { name: 'Use a passkey' }).click()
  await page.getByRole('alert').first().getByText('removed here').waitFor()
})

both('U13 the second step works without script, and a code works once', async t => {
  const stage = await openChromium(t, { accounts: {} })
  const plain = await stage.context.browser().newContext({ javaScriptEnabled: false, colorScheme: 'dark', viewport: { width: 360, height: 740 } })
  t.after(() => plain.close())
  const page = await plain.newPage()
  await join(page, stage.app)
  await page.getByRole('link', { name: 'Set up' }).click()
  await page.getByLabel('Password').fill(password)
  await page.getByRole('button', { name: 'Continue' }).click()
  await page.getByRole('img', { name: 'QR code for the app' }).waitFor()
  const secret = await page.locator('.secret').textContent()
  const first = code(secret) // taken once: half a minute may end at any time
  await page.locator('#code').fill(first)
  await page.getByRole('button', { name: 'Turn on' }).click()
  await page.getByRole('heading', { name: 'Your second step is on' }).waitFor()
  const recovery = await page.locator('.codes code').allTextContents()
  assert.equal(recovery.length, 10)
  for (const one of recovery) secrets.set(one, 'recovery code')
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth > innerWidth), false, 'nothing is wider than a phone')

  await plain.clearCookies()
  await page.goto(`${stage.app}/auth/login?return_to=/auth/account`)
  await page.getByLabel('E-mail address').fill(ann)
  await page.getByLabel('Password').fill(password)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.locator('#code:focus').fill(first)
  await page.keyboard.press('Enter')
  await page.locator('#code[aria-invalid]:focus').fill(recovery[0])
  await page.keyboard.press('Enter')
  await page.getByText('9 left').waitFor()
})

both('my devices: another one is signed out, then all of them', async t => {
  const stage = await openChromium(t, { accounts: {} })
  const page = await stage.tab()
  await join(page, stage.app)
  const other = await newPerson(t, stage)
  const tab = await other.tab('/auth/login')
  await tab.getByLabel('E-mail address').fill(ann)
  await tab.getByLabel('Password').fill(password)
  await tab.getByRole('button', { name: 'Sign in' }).click()
  await tab.locator('#who').getByText(/^signed in as/).waitFor()
  await page.reload()
  if (pair.storage === 'store') {
    await page.getByRole('button', { name: 'Sign out', exact: true }).first().click()
    await page.getByRole('status').getByText('That device is signed out.').waitFor()
    await tab.reload()
    await shows(tab, 'signed out')
  } else {
    await page.getByText('there is no list of your devices').waitFor()
  }
  await page.getByRole('button', { name: 'Sign out everywhere' }).click()
  await page.waitForURL('**/auth/signed-out**')
  assert.equal(await stage.ticket(), undefined)
})

test('T7 U13 who has lost app and passkeys: an operator takes them away, sessions end, and the password signs in', async t => {
  const stage = await openChromium(t, { accounts: {} })
  const page = await stage.tab()
  const device = await authenticator(page)
  await join(page, stage.app)
  await addPasskey(page, 'lost phone')
  await device.touched(false)
  await page.getByRole('link', { name: 'Set up' }).click()
  await page.getByLabel('Password').fill(password)
  await page.getByRole('button', { name: 'Continue' }).click()
  await page.locator('#code').fill(code(await page.locator('.secret').textContent()))
  await page.getByRole('button', { name: 'Turn on' }).click()
  for (const one of await page.locator('.codes code').allTextContents()) secrets.set(one, 'recovery code')
  const ticket = await stage.ticket()

  const { stderr } = await promisify(execFile)(run.binary, ['users', 'reset', ann, '--factors', '--config', stage.gateway.config], { cwd: dirname(stage.gateway.config) })
  assert.match(stderr, /"reason":"factors, by an operator"/)
  await until('the sessions to end', async () => !await stage.gateway.knows(ticket))
  await page.goto(`${stage.app}/auth/login?return_to=/auth/account`)
  await page.getByLabel('E-mail address').fill(ann)
  await page.getByLabel('Password').fill(password)
  await page.getByRole('button', { name: 'Sign in', exact: true }).click()
  await page.getByText('Not set up').waitFor()
  assert.equal(await page.getByText('lost phone').count(), 0)
})
