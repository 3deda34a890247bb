/**
 * Undo steps of an operation that takes several resources: defer each undo right after its
 * acquisition, then either `keep()` them all or `run()` the undos, newest first.
 */
export class Undo {
  #steps: { what: string; undo: () => Promise<unknown> }[] = [];

  defer(what: string, undo: () => Promise<unknown>): void {
    this.#steps.push({ what, undo });
  }

  keep(): void {
    this.#steps = [];
  }

  /** Runs every undo even when one fails; the failures come back as one list for the log. */
  async run(): Promise<{ what: string; cause: unknown }[]> {
    const failed: { what: string; cause: unknown }[] = [];
    for (const { what, undo } of this.#steps.reverse()) {
      try {
        await undo();
      } catch (cause) {
        failed.push({ what, cause });
      }
    }
    this.#steps = [];
    return failed;
  }
}
