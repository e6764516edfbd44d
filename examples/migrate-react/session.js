import { createClient } from "@cloakroom/client";
import { useEffect, useState } from "react";

export const auth = createClient();

/** Who is signed in; undefined until that is known. */
export function useSession() {
  const [session, setSession] = useState();
  useEffect(() => {
    auth.session().then(setSession);
    return auth.on("change", (event) => setSession(event.session));
  }, []);
  return session;
}
