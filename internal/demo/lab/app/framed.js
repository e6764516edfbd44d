// Tells whoever frames this page that it is shown, and whether somebody is signed in: what a person would click on.
import { createClient } from "/auth/client.js";

const client = createClient();
const signedIn = client.signedIn ? client.signedIn() : (await client.session().catch(() => ({}))).authenticated;
parent.postMessage({ shown: true, signedIn: Boolean(signedIn) }, "*");
