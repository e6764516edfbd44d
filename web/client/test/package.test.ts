// What others get: the built files, imported by the package's name, on a server.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { createClient, ClientError, type Client, type ErrorCode, type Session } from "@cloakroom/client";
import { expect, expectTypeOf, test } from "vitest";

const here = fileURLToPath(new URL("..", import.meta.url));

test("the built client is at most 3 kB, gzipped", () => {
  const size = gzipSync(readFileSync(new URL("../dist/client.js", import.meta.url)), { level: 9 }).length;
  expect(size).toBeGreaterThan(500);
  expect(size).toBeLessThanOrEqual(3072);
});

test("dist is what src makes", { timeout: 30_000 }, () => {
  execFileSync(process.execPath, ["build.js", "--check"], { cwd: here, stdio: "pipe" });
});

test("the package holds the built files and depends on nothing", { timeout: 30_000 }, () => {
  const [packed] = JSON.parse(execFileSync("npm", ["pack", "--dry-run", "--json"], { cwd: here, encoding: "utf8", stdio: "pipe" }));
  expect(packed.files.map((file: { path: string }) => file.path).sort()).toEqual([
    "LICENSE",
    "README.md",
    "dist/client.d.ts",
    "dist/client.js",
    "dist/code.d.ts",
    "dist/endpoint.d.ts",
    "dist/types.d.ts",
    "package.json",
  ]);
  expect(JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"))).not.toHaveProperty("dependencies");
});

test("the lock file names no place to download from", () => {
  expect(readFileSync(new URL("../package-lock.json", import.meta.url), "utf8")).not.toMatch(/"resolved"|:\/\/(?!.*(fund|sponsor|opencollective))/);
});

test("imports on a server, where a client waits to be asked", async () => {
  expect(typeof document).toBe("undefined");
  const client = createClient();
  const off = client.on("change", () => {});
  off();
  await expect(client.session()).rejects.toBeInstanceOf(ClientError); // a path alone has no server here
});

test("types are narrow", () => {
  const client: Client = createClient({ base: "/auth/", loginOn: [401, 403] as const });
  expectTypeOf(client.session).returns.resolves.toEqualTypeOf<Session>();
  expectTypeOf<ErrorCode>().extract<"none" | "offline" | "nonsense">().toEqualTypeOf<"none" | "offline">();
  client.on("expired", (event) => expectTypeOf(event.preventDefault).toEqualTypeOf<() => void>());
  const narrow = (session: Session) => {
    // @ts-expect-error nobody may be signed in
    session.user;
    if (session.authenticated) expectTypeOf(session.user.sub).toBeString();
    // @ts-expect-error the answer is the gateway's
    session.authenticated = true;
  };
  expect(narrow).toBeDefined();
  // @ts-expect-error no such event
  expect(() => client.on("signed-out", () => {})).toThrow();
  // @ts-expect-error no such prompt
  const prompt: Parameters<Client["login"]>[0] = { prompt: "always" };
  expect(prompt).toBeDefined();
});
