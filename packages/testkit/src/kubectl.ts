import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { TrineError, pollUntil } from "@trine/base";
import { runCommand } from "./run-command.ts";

/** An object of the API, as far as these tests look. */
export interface KubeObject {
  readonly metadata: {
    readonly name: string;
    readonly uid?: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly status?: unknown;
  readonly spec?: unknown;
}

/** kubectl, as a child for each command. */
export class Kubectl {
  readonly #program: string;
  readonly #kubeconfig: string;
  readonly #cache: string;

  constructor(of: { program: string; kubeconfig: string; dir: string }) {
    this.#program = of.program;
    this.#kubeconfig = of.kubeconfig;
    this.#cache = join(of.dir, "kubectl-cache");
  }

  /** Words of a command line that runs kubectl so. */
  command(...args: readonly string[]): string[] {
    return [
      this.#program,
      `--kubeconfig=${this.#kubeconfig}`,
      `--cache-dir=${this.#cache}`,
      ...args,
    ];
  }

  /** Runs it to its end; answers its output, rejects with its errors. */
  run(...args: readonly string[]): Promise<string> {
    return this.runWith("", ...args);
  }

  /** The same with text for its standard input. */
  runWith(input: string, ...args: readonly string[]): Promise<string> {
    const [program = "", ...words] = this.command(...args);
    return runCommand(program, words, { input, timeoutMs: 180_000 });
  }

  /** Starts it; the caller ends it. */
  start(...args: readonly string[]): ChildProcess {
    const [program = "", ...words] = this.command(...args);
    return spawn("setpriv", ["--pdeathsig", "KILL", program, ...words], { stdio: "pipe" });
  }

  async apply(...objects: readonly object[]): Promise<void> {
    const list = { apiVersion: "v1", kind: "List", items: objects };
    await this.runWith(JSON.stringify(list), "apply", "-f", "-");
  }

  /** `kubectl get … -o json`, parsed. */
  async get<T>(...args: readonly string[]): Promise<T> {
    return JSON.parse(await this.run("get", ...args, "-o", "json")) as T;
  }

  /** Polls an object until `isSo`; answers it. On timeout the error has its status. */
  async until<O extends KubeObject>(
    what: string,
    args: readonly string[],
    isSo: (object: O) => boolean,
    ms = 120_000,
  ): Promise<O> {
    let last: O | undefined;
    try {
      return await pollUntil(what, { ms, everyMs: 250 }, async () => {
        last = await this.get<O>(...args);
        return isSo(last) ? last : undefined;
      });
    } catch (cause) {
      throw TrineError.during(`${args.join(" ")} is ${JSON.stringify(last?.status)}`, cause);
    }
  }
}
