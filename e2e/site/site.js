// The site where a server cannot render it: navigations bring no bearer, so with delivery memory it is a page and a script.
import { createClient } from '/auth/client.js'

const auth = createClient()
const { user } = await auth.session()
const answer = await auth.fetch('/api/graphql', {
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ query: '{ notes { text } }' }),
})
const { data } = await answer.json()
document.querySelector('ul').replaceChildren(...data.notes.map(({ text }) => Object.assign(document.createElement('li'), { textContent: text })))
document.querySelector('h1').textContent = `Notes of ${user.sub}`
