/**
 * Vendor data by which a guest with a ConfigDrive on a root that stays sets up its network at each boot: cloud-init (22.4) fails where it is
 * told so, but takes the instance for a new one where it does not know the last one's id. What it has done for this instance it
 * knows by other files, and does not do again.
 */
export const FORGET_HOOK =
  "#cloud-boothook\n#!/bin/sh\n# Its network may be another at the next boot.\nrm -f /var/lib/cloud/data/instance-id\n";
