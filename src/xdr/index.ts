export { wordsOf, XdrError, XdrReader } from "./reader.ts";
export { RecordReader, RecordTooLongError } from "./record.ts";
export { XdrWriter } from "./writer.ts";
