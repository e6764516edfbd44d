// Builds dist/ from src/. With --check it writes nothing and fails if dist/ is not exactly what src/ makes.
import { build } from "esbuild";
import { execFileSync } from "node:child_process";
import { mkdtempSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const dist = join(here, "dist");

const made = await make();
if (process.argv.includes("--check")) {
  const stale = differences(made, read(dist));
  if (stale.length > 0) {
    console.error(`dist is not what src makes: ${stale.join(", ")}\nhint: npm run build, and commit dist`);
    process.exit(1);
  }
} else {
  rmSync(dist, { recursive: true, force: true });
  mkdirSync(dist);
  for (const [name, content] of made) writeFileSync(join(dist, name), content);
}

/** Returns every file of dist by name. */
async function make() {
  const out = mkdtempSync(join(tmpdir(), "cloakroom-client-"));
  try {
    await build({
      absWorkingDir: here,
      entryPoints: ["src/client.ts"],
      outfile: join(out, "client.js"),
      bundle: true,
      minify: true,
      format: "esm",
      target: "es2022",
      charset: "utf8",
      logLevel: "warning",
    });
    const tsc = join(here, "node_modules/typescript/bin/tsc");
    execFileSync(process.execPath, [tsc, "-p", join(here, "tsconfig.build.json"), "--outDir", out], { stdio: "inherit" });
    return read(out);
  } finally {
    rmSync(out, { recursive: true });
  }
}

function read(folder) {
  let names;
  try {
    names = readdirSync(folder).sort();
  } catch {
    return new Map();
  }
  return new Map(names.map((name) => [name, readFileSync(join(folder, name))]));
}

function differences(a, b) {
  const names = new Set([...a.keys(), ...b.keys()]);
  return [...names].filter((name) => !a.get(name)?.equals(b.get(name) ?? Buffer.of()));
}
