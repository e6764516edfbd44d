// A GraphQL front end. Signing in is the client's business; nothing here knows of tokens or cookies.
import { createClient } from '/auth/client.js'

const auth = createClient()
const $ = id => document.getElementById(id)

async function query(query, variables) {
  const answer = await auth.fetch('/api/graphql', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ query, variables }),
  })
  if (!answer.ok) throw new Error(`the API answers ${answer.status}`)
  const { data, errors } = await answer.json()
  if (errors) throw new Error(errors[0].message)
  return data
}

async function show() {
  const { authenticated, user } = await auth.session()
  const { notes } = authenticated ? await query('{ notes { text } }') : { notes: [] }
  $('notes').replaceChildren(...notes.map(({ text }) => Object.assign(document.createElement('li'), { textContent: text })))
  $('who').textContent = authenticated ? `signed in as ${user.sub}` : 'signed out'
}

$('login').onclick = () => auth.login()
$('register').onclick = () => auth.register()
$('logout').onclick = () => auth.logout()
$('add').onsubmit = async event => {
  event.preventDefault()
  await query('mutation ($text: String!) { addNote(text: $text) { text } }', { text: event.target.text.value })
  await show()
}

// What the tests look at: which events came, and a way to ask by hand.
const events = []
for (const name of ['change', 'expiring', 'expired']) auth.on(name, () => { events.push(name) })
auth.on('change', show)
window.app = { auth, createClient, query, events, fetch: createClient({ loginOn: [] }).fetch } // the last never leaves the page
show()
