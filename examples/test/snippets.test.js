// The snippets in the pages are code: those marked before, too, which no file has any more.
import assert from 'node:assert/strict'
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { transform } from '../../web/client/node_modules/esbuild/lib/main.js'

const root = join(import.meta.dirname, '..', '..')
const pages = [
  'README.md', 'web/client/README.md',
  ...readdirSync(join(root, 'docs')).filter(name => name.endsWith('.md')).map(name => join('docs', name)),
  ...readdirSync(join(root, 'examples')).map(name => join('examples', name, 'README.md')).filter(name => !name.includes('test')),
]

test('the snippets of the pages are code', async () => {
  const seen = { before: 0, after: 0 }
  for (const page of pages) {
    const text = readFileSync(join(root, page), 'utf8')
    for (const [, language, mark, code] of text.matchAll(/^```(js|jsx|ts|html)(?: (before))?\n(.*?)^```$/gms)) {
      seen[mark ?? 'after']++
      const scripts = language === 'html' ? [...code.matchAll(/<script[^>]*>(.*?)<\/script>/gs)].map(found => found[1]) : [code]
      for (const script of scripts) {
        await transform(script, { loader: language === 'html' ? 'js' : language, logLevel: 'silent' })
          .catch(err => assert.fail(`${page}: ${err.message}\n${script}`))
      }
    }
  }
  assert.ok(seen.before >= 1 && seen.after >= 4, `only these were found: ${JSON.stringify(seen)}`)
})
