/**
 * The browser's side of Cloakroom: who is signed in, and what to do when nobody is. It patches nothing, and holds no token but
 * where the gateway hands one to the page: that stays in a variable that nothing outside of it can reach.
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
export declare function createClient({ base, loginOn, origins }?: ClientOptions): Client;
