/**
 * `node sqlite-writer.ts FOLDER`: makes the databases. `… FOLDER WRITER TRANSACTIONS` adds a row to each in so many
 * transactions. `… FOLDER check` prints how many rows of how many writers each holds, and whether it is intact. One
 * database has a rollback journal, the other a write-ahead log, whose index is shared memory in a mapped file.
 */
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

const [folder = ".", writer, transactions] = process.argv.slice(2);
const databases = ["delete", "wal"].map((journalMode) => {
  const database = new DatabaseSync(join(folder, `${journalMode}.db`), { timeout: 60_000 });
  if (writer === undefined) {
    database.exec(`PRAGMA journal_mode = ${journalMode}; CREATE TABLE rows (writer, number, content UNIQUE)`);
  }
  return database;
});

if (writer === "check") {
  for (const database of databases) {
    const { rows, writers } = database
      .prepare("SELECT count(*) AS rows, count(DISTINCT writer) AS writers FROM rows")
      .get() as { rows: number; writers: number };
    const { integrity_check: intact } = database.prepare("PRAGMA integrity_check").get() as {
      integrity_check: string;
    };
    console.log(`${rows} rows of ${writers} writers, ${intact}`);
  }
} else if (writer !== undefined) {
  const inserts = databases.map((database) => database.prepare("INSERT INTO rows VALUES (?, ?, ?)"));
  for (let number = 0; number < Number(transactions); number++) {
    for (const insert of inserts) {
      insert.run(writer, number, `${writer}/${number}`.repeat(100));
    }
  }
}
for (const database of databases) {
  database.close();
}
