import { type Code } from "./code.js";
/** Why the gateway could not do what it was asked: its own word, or `offline` when no answer came within 30 seconds. */
export type ErrorCode = Code | "offline";
/** The only error of the client itself. */
export declare class ClientError extends Error {
    /** Always "ClientError". */
    readonly name = "ClientError";
    /** How to react. */
    readonly code: ErrorCode;
    /** Used by the client. */
    constructor(code: ErrorCode, message: string, options?: ErrorOptions);
}
/** The header that shows that a request was meant. */
export declare const TOKEN = "X-CSRF-Token";
/** Calls one of the gateway's endpoints. Whatever is not a good answer is a ClientError. */
export declare function call(url: string, method: "GET" | "POST", proof: string): Promise<Response>;
/** Reads a JSON answer that must have a member of the given type. */
export declare function read<Answer>(response: Response, member: keyof Answer, type: "boolean" | "string"): Promise<Answer>;
