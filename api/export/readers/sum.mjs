// Counts the rows of an export and adds up one of its columns, with software
// that is not Earshot's: Parquet and CSV with DuckDB, an Arrow stream with Apache
// Arrow's own JavaScript library. Files may be larger than memory.
import { createReadStream } from 'node:fs';
import { DuckDBInstance } from '@duckdb/node-api';
import { RecordBatchReader } from 'apache-arrow';

const [file, column] = process.argv.slice(2);

async function duckdb() {
  const db = await (await DuckDBInstance.create(':memory:')).connect();
  const [[rows, sum]] = (await db.runAndReadAll(`SELECT count(*), sum("${column}")::DOUBLE FROM '${file}'`)).getRows();
  return { rows: Number(rows), sum };
}

async function arrow() {
  const total = { rows: 0, sum: 0 };
  for await (const batch of await RecordBatchReader.from(createReadStream(file))) {
    total.rows += batch.numRows;
    const values = batch.getChild(column);
    for (let i = 0; i < batch.numRows; i++) total.sum += Number(values.get(i) ?? 0);
  }
  return total;
}

process.stdout.write(JSON.stringify(await (file.endsWith('.arrows') ? arrow() : duckdb())));
