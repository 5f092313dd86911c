import { experimental } from "@grpc/grpc-js";
import { HttpClient } from "../../http/client.ts";
import type { HttpClientSettings } from "../../http/settings.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { failure } from "../status.ts";
import { kubernetesTarget } from "./target.ts";
import { EndpointsWatch } from "./watch.ts";

/** Where addresses of a scheme are looked up: what Buildbarn's GRPCKubernetesResolver says, as plain data. */
export interface KubernetesResolverSettings {
  readonly scheme: string;
  readonly apiServerUrl: string;
  readonly apiServerHttpClient: HttpClientSettings;
}

type Target = experimental.GrpcUri;

/** Has this thread's channels look up addresses of these schemes at an API server of Kubernetes. */
export function registerKubernetesResolvers(resolvers: readonly KubernetesResolverSettings[]): void {
  for (const { scheme, apiServerUrl, apiServerHttpClient } of resolvers) {
    const client = new HttpClient(apiServerHttpClient);
    experimental.registerResolver(
      scheme,
      class extends KubernetesResolver {
        constructor(target: Target, listener: experimental.ResolverListener) {
          super(target, listener, client, apiServerUrl);
        }
      },
    );
  }
}

/** Watches the endpoints of a channel's service for as long as the channel wants to know. */
class KubernetesResolver implements experimental.Resolver {
  readonly #target: Target;
  readonly #listener: experimental.ResolverListener;
  readonly #client: HttpClient;
  readonly #apiServerUrl: string;
  #watch: EndpointsWatch | undefined;
  #found = false;

  constructor(
    target: Target,
    listener: experimental.ResolverListener,
    client: HttpClient,
    apiServerUrl: string,
  ) {
    this.#target = target;
    this.#listener = listener;
    this.#client = client;
    this.#apiServerUrl = apiServerUrl;
  }

  /** The name that the pods' certificates must have, as in Buildbarn. Throws an Error for an address that is none. */
  static getDefaultAuthority(target: Target): string {
    const { service, namespace } = kubernetesTarget(addressIn(target));
    return `${service}.${namespace}`;
  }

  updateResolution(): void {
    this.#watch ??= new EndpointsWatch({
      client: this.#client,
      apiServerUrl: this.#apiServerUrl,
      target: kubernetesTarget(addressIn(this.#target)),
      onAddresses: (addresses) => {
        this.#found = true;
        const endpoints = addresses.map((address) => ({ addresses: [address] }));
        this.#listener(experimental.statusOrFromValue(endpoints), {}, null, "");
      },
      onError: (error) => {
        // Known addresses are good until there are others.
        if (!this.#found) {
          const { code, details, metadata } = failure(
            Code.UNAVAILABLE,
            `cannot ask Kubernetes for ${experimental.uriToString(this.#target)}: ${error.message}`,
          );
          this.#listener(experimental.statusOrFromError({ code, details, metadata }), {}, null, "");
        }
      },
    });
  }

  destroy(): void {
    this.#watch?.[Symbol.dispose]();
    this.#watch = undefined;
    this.#found = false;
  }
}

/** grpc-js takes "//a:1" for a path, and "//a/b:1" apart. */
function addressIn({ authority, path }: Target): string {
  return authority === undefined ? path : `//${authority}/${path}`;
}
