import { TrineError, abortable, pollUntil } from "@trine/base";
import type { BackEnd } from "./back-end.ts";
import { joinWork } from "./join-work.ts";
import { IMAGE_SERVICE } from "./methods.ts";
import type { ServerCall } from "./server-call.ts";
import { Turns } from "./turns.ts";
import { bytesField, messageAt, stringAt } from "./wire.ts";

/** Imports at work at once: each fetches, unpacks and converts. The others wait. */
const MAX_AT_WORK = 4;
/** A back end hears of a new image by an event. */
const KNOWN_MS = 30_000;

/** Credentials of a PullImage, as far as a file server takes them. */
type PullAuth =
  | { readonly kind: "basic"; readonly username: string; readonly password: string }
  | { readonly kind: "bearer"; readonly token: string };

/** Images that are disks of machines, by the URLs their names stand for. */
export interface UrlImages {
  /** What names of such images begin with. */
  readonly prefix: string;
  /** Whose store they go to; empty: the default's. */
  readonly backEnd: string;
  /** Brings one into the store of the containerd at this socket; answers its name there. */
  readonly pull: (
    pull: { readonly name: string; readonly auth: PullAuth | undefined; readonly socket: string },
    signal: AbortSignal,
  ) => Promise<string>;
}

/** PullImage of a disk: requests for the same one, by the same credentials, join; its end answers all of them. */
export class UrlPulls {
  readonly #images: UrlImages;
  readonly #pulling = new Map<string, Promise<string>>();
  readonly #turns = new Turns(MAX_AT_WORK);

  constructor(images: UrlImages) {
    this.#images = images;
  }

  get backEnd(): string {
    return this.#images.backEnd;
  }

  isOne(image: string): boolean {
    return image.startsWith(this.#images.prefix);
  }

  /** `signal` is the work's, which goes on without its callers. */
  async pull(call: ServerCall, backEnd: BackEnd, signal: AbortSignal): Promise<void> {
    call.backEnd = backEnd.name;
    const name = stringAt(call.message, 1, 1);
    const auth = authOf(messageAt(call.message, 2));
    const work = joinWork(this.#pulling, JSON.stringify([name, auth]), () =>
      this.#turns.take(signal, () =>
        this.#images.pull({ name, auth, socket: backEnd.socket }, signal),
      ),
    );
    const reference = await abortable(call.path, call.signal, work);
    const id = await knownId(backEnd, reference, call);
    call.reply(bytesField(1, id));
  }
}

/** Its id, once the back end knows the image. */
function knownId(backEnd: BackEnd, reference: string, call: ServerCall): Promise<string> {
  const { signal, metadata } = call;
  return pollUntil(`${backEnd.name} knows ${reference}`, { ms: KNOWN_MS, signal }, async () => {
    const request = bytesField(1, bytesField(1, reference));
    const status = await backEnd.unary(`${IMAGE_SERVICE}ImageStatus`, request, {
      metadata,
      signal,
    });
    const id = stringAt(status, 1, 1);
    return id === "" ? undefined : id;
  });
}

/** An AuthConfig. Kind `invalid` for an `auth` that is none. */
function authOf(config: Uint8Array): PullAuth | undefined {
  const [username, password, auth] = [1, 2, 3].map((field) => stringAt(config, field));
  const token = stringAt(config, 6);
  if (token !== "") return { kind: "bearer", token };
  if (username !== undefined && username !== "") {
    return { kind: "basic", username, password: password ?? "" };
  }
  if (auth === undefined || auth === "") return undefined;
  const pair = Buffer.from(auth, "base64").toString("utf8");
  const at = pair.indexOf(":");
  if (at < 1) throw new TrineError("invalid", "the auth of the credentials is no USER:PASSWORD");
  return { kind: "basic", username: pair.slice(0, at), password: pair.slice(at + 1) };
}
