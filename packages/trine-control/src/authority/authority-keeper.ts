import { createAuthority } from "@trine/certificates";
import {
  CONFIG_MAPS,
  type ConfigMap,
  type KubeApi,
  SECRETS,
  type Secret,
  type Stored,
} from "@trine/kube-client";
import { authorityData, readAuthority } from "./authority-secret.ts";
import {
  AUTHORITY_LIFE_MS,
  type AuthorityState,
  type AuthorityStep,
  bundleOf,
  nextAuthorityStep,
  switched,
  withoutEnded,
} from "./authority-state.ts";
import { orNothing } from "./or-nothing.ts";

const NAME = "trine-authority";
/** Where nodes and everybody else read whom to believe. */
const PUBLIC = { namespace: "kube-public", name: NAME };

interface KeeperDeps {
  readonly api: Pick<KubeApi, "get" | "create" | "update">;
  /** Of the Secret. */
  readonly namespace: string;
  readonly now: () => number;
}

/**
 * The cluster's authority, in a Secret: made once by whoever is first, followed by another one before it ends. What is
 * believed in is published before it signs. Every step may be repeated, and two that do it at once do it once.
 */
export class AuthorityKeeper {
  readonly #deps: KeeperDeps;

  constructor(deps: KeeperDeps) {
    this.#deps = deps;
  }

  /** Makes, changes and publishes what is due; answers the authority. */
  async keep(signal: AbortSignal): Promise<AuthorityState> {
    let secret = await this.#adopt(signal);
    let state = readAuthority(secret);
    for (;;) {
      const step = nextAuthorityStep(state, this.#deps.now());
      if (step === "keep") break;
      const data = authorityData(await this.#stepped(state, step));
      // A conflict means another one was at it: the next round reads what it made.
      secret = await this.#deps.api.update(SECRETS, { ...secret, data }, { signal });
      state = readAuthority(secret);
    }
    await this.#publish(bundleOf(state), signal);
    return state;
  }

  async #stepped(
    state: AuthorityState,
    step: Exclude<AuthorityStep, "keep">,
  ): Promise<AuthorityState> {
    switch (step) {
      case "prepare":
        return { ...state, next: await this.#fresh() };
      case "switch":
        return switched(state);
      case "drop":
        return withoutEnded(state, this.#deps.now());
    }
  }

  #fresh(): ReturnType<typeof createAuthority> {
    const nowMs = this.#deps.now();
    return createAuthority({ name: NAME, lifeMs: AUTHORITY_LIFE_MS, nowMs });
  }

  async #adopt(signal: AbortSignal): Promise<Stored<Secret>> {
    const { api, namespace } = this.#deps;
    const at = { namespace, name: NAME };
    const there = await api.get(SECRETS, at, signal).catch(orNothing("notFound"));
    if (there !== undefined) return there;
    const data = authorityData({ active: await this.#fresh(), previous: [] });
    const secret = { metadata: at, type: "kubernetes.io/tls", data };
    const made = await api.create(SECRETS, secret, { signal }).catch(orNothing("alreadyExists"));
    return made ?? api.get(SECRETS, at, signal);
  }

  async #publish(bundle: string, signal: AbortSignal): Promise<void> {
    const { api } = this.#deps;
    const data = { "ca.crt": bundle };
    const there: Stored<ConfigMap> | undefined = await api
      .get(CONFIG_MAPS, PUBLIC, signal)
      .catch(orNothing("notFound"));
    if (there === undefined) {
      await api.create(CONFIG_MAPS, { metadata: PUBLIC, data }, { signal });
    } else if (there.data?.["ca.crt"] !== bundle) {
      await api.update(CONFIG_MAPS, { ...there, data }, { signal });
    }
  }
}
