// Who may what, verb by verb, by the roles that are installed: nobody, who views, who edits, who administrates; here and in another namespace.
import { join } from "node:path";
import { COPY_GRANT, DATA_SOURCES, resourceOf } from "@trine/kube-client";
import { DATA_VOLUME } from "@trine/kube-types";
import { afterAll, beforeAll, expect, test } from "vitest";
import { KubeRest } from "./kube-rest.ts";
import type { VirtApiUnderTest } from "./virt-api-under-test.ts";

const ROLES = join(import.meta.dirname, "../deploy/control-plane/roles.yaml");
const SUBRESOURCES = "/apis/subresources.kubevirt.io/v1";
const HERE = "default";
const ELSEWHERE = "elsewhere";

/** Whom the role of each name is bound to, in one namespace only. */
const USERS = { view: "viewer", edit: "editor", admin: "administrator" } as const;
type Role = keyof typeof USERS;

interface Listed {
  readonly name: string;
  readonly verbs: readonly string[];
}

/** What reads of a machine without reaching into it, and what needs more; all else is for those who edit. */
const FOR_VIEW =
  /^expand-vm-spec$|\/(expand-spec|objectgraph|guestosinfo|userlist|filesystemlist|sev\/fetchcertchain|sev\/querylaunchmeasurement)$/;
/** Moving machines is asked of no role of a namespace. */
const FOR_NOBODY = /\/migrate$/;

export function rightsTests(under: () => VirtApiUnderTest): void {
  const clients = new Map<string, KubeRest>();

  beforeAll(async () => {
    const { plane } = under();
    await plane.kubectl.run("create", "namespace", ELSEWHERE);
    await plane.kubectl.run("apply", "-f", ROLES);
    const bindings = Object.entries(USERS).map(([role, user]) => ({
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "RoleBinding",
      metadata: { name: `machines-${role}`, namespace: HERE },
      roleRef: {
        apiGroup: "rbac.authorization.k8s.io",
        kind: "ClusterRole",
        name: `kubevirt.io:${role}`,
      },
      subjects: [{ kind: "User", apiGroup: "rbac.authorization.k8s.io", name: user }],
    }));
    await plane.kubectl.apply(...bindings);
    for (const user of ["stranger", ...Object.values(USERS)]) {
      clients.set(user, await KubeRest.connect(plane, { user }));
    }
  }, 120_000);

  afterAll(() => {
    for (const client of clients.values()) client.close();
  });

  const clientOf = (user: string): KubeRest => {
    const found = clients.get(user);
    if (found === undefined) throw new Error(`no client of ${user}`);
    return found;
  };

  const listed = async (): Promise<readonly Listed[]> => {
    const { body } = await clientOf("stranger").call("GET", SUBRESOURCES);
    return body["resources"] as readonly Listed[];
  };

  /** The names whose requests are not forbidden to a user. */
  async function open(user: string, namespace: string): Promise<string[]> {
    const names: string[] = [];
    for (const { name, verbs } of await listed()) {
      const [resource = "", ...sub] = name.split("/");
      const below = sub.length === 0 ? "" : `/nobodys/${sub.join("/")}`;
      const path = `${SUBRESOURCES}/namespaces/${namespace}/${resource}${below}`;
      const isGet = verbs[0] === "get";
      const { code } = await clientOf(user).call(
        isGet ? "GET" : "PUT",
        path,
        isGet ? undefined : {},
      );
      if (code !== 403) names.push(name);
    }
    return names;
  }

  const wanted = async (role: Role): Promise<string[]> => {
    const names = (await listed()).map(({ name }) => name);
    if (role === "view") return names.filter((name) => FOR_VIEW.test(name));
    return names.filter((name) => !FOR_NOBODY.test(name));
  };

  test("one whom no role is bound to reaches no verb of any machine", async () => {
    expect(await open("stranger", HERE)).toEqual([]);
  });

  test.each(["view", "edit", "admin"] as const)(
    "%s opens its verbs in its namespace, and none in another",
    async (role) => {
      // The API server's own view of roles is a moment behind.
      await expect
        .poll(() => open(USERS[role], HERE), { timeout: 60_000 })
        .toEqual(await wanted(role));
      expect(await open(USERS[role], ELSEWHERE)).toEqual([]);
    },
  );

  const machine = (name: string, namespace: string) => ({
    path: `/apis/kubevirt.io/v1/namespaces/${namespace}/virtualmachines`,
    object: {
      apiVersion: "kubevirt.io/v1",
      kind: "VirtualMachine",
      metadata: { name },
      spec: {
        runStrategy: "Halted",
        template: { spec: { domain: { memory: { guest: "64Mi" }, devices: {} } } },
      },
    },
  });

  test("who views reads machines and makes none; who edits makes them here and nowhere else", async () => {
    const code = async (user: string, method: string, namespace: string): Promise<number> => {
      const { path, object } = machine("of-rights", namespace);
      const answer =
        method === "DELETE"
          ? await clientOf(user).call("DELETE", `${path}/of-rights`)
          : await clientOf(user).call(method, path, method === "GET" ? undefined : object);
      return answer.code;
    };
    const codes = {
      stranger: [await code("stranger", "GET", HERE), await code("stranger", "POST", HERE)],
      viewer: [
        await code("viewer", "GET", HERE),
        await code("viewer", "POST", HERE),
        await code("viewer", "GET", ELSEWHERE),
      ],
      editor: [
        await code("editor", "POST", HERE),
        await code("editor", "POST", ELSEWHERE),
        await code("viewer", "DELETE", HERE),
        await code("editor", "DELETE", HERE),
      ],
    };
    expect(codes).toEqual({
      stranger: [403, 403],
      viewer: [200, 403, 403],
      editor: [201, 403, 403, 200],
    });
  });

  test("what a DataSource says by now the control plane, which may all, has copied for nobody", async () => {
    const { system } = under();
    const source = { pvc: { namespace: ELSEWHERE, name: "secret" } };
    const storage = { resources: { requests: { storage: "1Gi" } } };
    const volumes = resourceOf(DATA_VOLUME);
    const metadata = { namespace: HERE, name: "of-moved" };
    await system.create(DATA_SOURCES, {
      metadata: { namespace: HERE, name: "moved" },
      spec: { source },
    });
    const sourceRef = { kind: "DataSource", name: "moved" };
    await expect(
      system.create(volumes, { metadata, spec: { sourceRef, storage } }),
    ).rejects.toThrow(`the DataSource says ${ELSEWHERE}/secret by now: it is read anew`);
    // What it names itself it has looked at, for an account.
    const named = await system.create(volumes, { metadata, spec: { source, storage } });
    expect(named.metadata.annotations?.[COPY_GRANT]).toMatch(/^elsewhere\/secret:/);
  });

  test("the door was never asked by those who may not", () => {
    const asked = under().door.asked.filter((each) => each.includes("nobodys"));
    expect(asked).toEqual([]);
  });
}
