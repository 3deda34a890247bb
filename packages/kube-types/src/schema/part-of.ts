/** Whatever is installed in a cluster says so: an uninstall finds it by this label, whoever has installed it. */
export const PART_OF = { label: "app.kubernetes.io/part-of", value: "trine" } as const;
