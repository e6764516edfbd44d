// A GraphQL API on a host of its own, https://api.example.com, for pages behind a gateway at https://app.example.com.
import { ApolloServer } from '@apollo/server'
import { expressMiddleware } from '@as-integrations/express5'
import cors from 'cors'
import express from 'express'
import { authenticate } from './auth.js'

const typeDefs = `#graphql
  type Note { text: String!, by: ID! }
  type Query { me: ID!, notes: [Note!]! }
  type Mutation { addNote(text: String!): Note! }
`

/** The API as an Express application. Options are those of authenticate. */
export async function createAPI(options) {
  const notes = []
  const graphql = new ApolloServer({
    typeDefs,
    resolvers: {
      Query: { me: (_, __, { sub }) => sub, notes: () => notes },
      Mutation: { addNote: (_, { text }, { sub }) => (notes.push({ text, by: sub }), notes.at(-1)) },
    },
    stopOnTerminationSignals: false,
  })
  await graphql.start()

  const pages = options.origins ?? [options.gateway]
  return express()
    .disable('x-powered-by')
    .use(cors({ origin: pages, credentials: true, exposedHeaders: ['Cloakroom', 'WWW-Authenticate'], maxAge: 600 })) // the same list
    .use('/graphql', authenticate(options), express.json(), expressMiddleware(graphql, { context: async ({ req }) => req.auth }))
}

if (process.argv[1] === import.meta.filename) {
  const { ISSUER: issuer, JWKS: jwks, AUDIENCE: audience, GATEWAY: gateway, COOKIE_DOMAIN: domain, CSRF_KEY: csrfKey } = process.env
  const api = await createAPI({ issuer, jwks, audience, gateway, shared: Boolean(domain), csrfKey })
  api.listen(4000, '127.0.0.1', () => console.log('http://127.0.0.1:4000/graphql'))
}
