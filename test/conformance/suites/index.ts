import type { SuiteDefinition } from "../suite.ts";
import { cthon04 } from "./cthon04.ts";
import { dbench } from "./dbench.ts";
import { fio } from "./fio.ts";
import { fsx } from "./fsx.ts";
import { ltp } from "./ltp.ts";
import { pjdfstest } from "./pjdfstest.ts";
import { pynfs } from "./pynfs.ts";
import { seekSanity } from "./seek-sanity.ts";
import { stressNg } from "./stress-ng.ts";
import { xfstests } from "./xfstests.ts";

/** All suites, in the order of the table. */
export const SUITES: readonly SuiteDefinition[] = [
  pynfs,
  pjdfstest,
  cthon04,
  fsx,
  seekSanity,
  xfstests,
  ltp,
  stressNg,
  fio,
  dbench,
];
