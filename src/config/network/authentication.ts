import type { AuthenticationMetadata } from "../../proto/gen/buildbarn/auth/auth_pb.ts";
import type { FieldPath } from "../field-path.ts";
import { accept, refuse } from "../refuse.ts";

const UNUSED = "whoever a policy allows may do everything; what it says of them is not used";

/** What a policy says of those it allows. */
export function authenticationMetadata(metadata: AuthenticationMetadata, path: FieldPath): void {
  refuse(accept(metadata, path, { public: UNUSED, private: UNUSED, tracingAttributes: UNUSED }), path);
}
