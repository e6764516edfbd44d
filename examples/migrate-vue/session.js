import { createClient } from "@cloakroom/client";
import { ref } from "vue";

export const auth = createClient();

/** Who is signed in; undefined until that is known. */
export const session = ref();

auth.session().then((now) => (session.value = now));
auth.on("change", (event) => (session.value = event.session));
