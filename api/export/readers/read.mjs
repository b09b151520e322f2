// Reads an export with software that is not Earshot's: Parquet with DuckDB, an
// Arrow stream with Apache Arrow's own JavaScript library. Prints the types of
// the columns and the rows; times are Unix microseconds.
import { readFileSync } from 'node:fs';
import { DuckDBInstance } from '@duckdb/node-api';
import { DataType, RecordBatchReader } from 'apache-arrow';

const plain = value => (typeof value === 'bigint' ? Number(value) : value);

async function parquet(file) {
  const db = await (await DuckDBInstance.create(':memory:')).connect();
  const all = async sql => (await db.runAndReadAll(sql)).getRows();
  const columns = await all(`DESCRIBE SELECT * FROM read_parquet('${file}')`);
  const types = Object.fromEntries(columns.map(([name, type]) => [name, type]));
  const names = Object.keys(types);
  const cells = names.map(name => (types[name].startsWith('TIMESTAMP') ? `epoch_us("${name}")` : `"${name}"`));
  const rows = await all(`SELECT ${cells.join(', ')} FROM read_parquet('${file}')`);
  const [[groups]] = await all(`SELECT count(DISTINCT row_group_id) FROM parquet_metadata('${file}')`);
  return { types, groups: Number(groups), rows: rows.map(row => Object.fromEntries(names.map((name, i) => [name, plain(row[i])]))) };
}

async function arrow(file) {
  const reader = await RecordBatchReader.from(readFileSync(file));
  await reader.open();
  const types = Object.fromEntries(reader.schema.fields.map(f => [f.name, String(f.type)]));
  const rows = [];
  for (const batch of reader) {
    const columns = batch.schema.fields.map((f, i) => [f.name, DataType.isTimestamp(f.type), batch.getChildAt(i)]);
    for (let i = 0; i < batch.numRows; i++) {
      rows.push(Object.fromEntries(columns.map(([name, time, column]) => {
        const value = plain(column.get(i));
        return [name, time && value !== null ? Math.round(value * 1000) : value];
      })));
    }
  }
  return { types, rows };
}

const file = process.argv[2];
const read = file.endsWith('.parquet') ? parquet : arrow;
process.stdout.write(JSON.stringify(await read(file)));
