/**
 * The browser's side of Cloakroom: who is signed in, and what to do when nobody is. It holds no token and patches nothing.
 *
 * @packageDocumentation
 */
import { ClientError } from "./endpoint.js";
import type { Client, ClientOptions } from "./types.js";
export type * from "./types.js";
export type { Code } from "./code.js";
export type { ErrorCode } from "./endpoint.js";
export { ClientError };
/** Makes a client. One is enough for a page; it may be made on a server, where it does nothing until asked. */
export declare function createClient({ base, loginOn }?: ClientOptions): Client;
