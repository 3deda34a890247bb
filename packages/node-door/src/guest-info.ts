import * as v from "valibot";
import { listOf, text, whole } from "./text.ts";

// KubeVirt's types of what a guest's agent says; `kind` and `apiVersion` are added by who serves them.

const userSchema = v.object({
  userName: text,
  domain: v.optional(text),
  /** Seconds since 1970. */
  loginTime: v.optional(v.number()),
});

const fileSystemSchema = v.object({
  diskName: text,
  mountPoint: text,
  fileSystemType: text,
  usedBytes: whole,
  totalBytes: whole,
  disk: v.optional(listOf(v.object({ serial: v.optional(text), busType: v.optional(text) }), 64)),
});

export const userListSchema = v.object({ items: listOf(userSchema, 1_024) });
export const fileSystemListSchema = v.object({ items: listOf(fileSystemSchema, 1_024) });

export const guestOsInfoSchema = v.object({
  guestAgentVersion: v.optional(text),
  supportedCommands: v.optional(
    listOf(v.object({ name: text, enabled: v.optional(v.boolean()) }), 512),
  ),
  hostname: v.optional(text),
  os: v.optional(
    v.object({
      name: v.optional(text),
      kernelRelease: v.optional(text),
      version: v.optional(text),
      prettyName: v.optional(text),
      versionId: v.optional(text),
      kernelVersion: v.optional(text),
      machine: v.optional(text),
      id: v.optional(text),
    }),
  ),
  timezone: v.optional(text),
  userList: v.optional(listOf(userSchema, 1_024)),
  fsInfo: v.optional(v.object({ disks: v.optional(listOf(fileSystemSchema, 1_024)) })),
  fsFreezeStatus: v.optional(v.picklist(["thawed", "frozen"])),
});

export type GuestUser = v.InferOutput<typeof userSchema>;
export type GuestFileSystem = v.InferOutput<typeof fileSystemSchema>;
export type GuestUserList = v.InferOutput<typeof userListSchema>;
export type GuestFileSystemList = v.InferOutput<typeof fileSystemListSchema>;
/** Content of VirtualMachineInstanceGuestAgentInfo. */
export type GuestOsInfo = v.InferOutput<typeof guestOsInfoSchema>;
