/** The flags of the command line with their values. */
import { useApi } from '../api/use';
import { Empty, Loadable } from '../components/feedback';
import { Search } from '../components/parts';
import { place, setParams } from '../router';

export default function FlagsPage() {
  const loaded = useApi<Record<string, string>>('status/flags');
  const filter = place.value.params.get('search') ?? '';
  const wanted = filter.toLowerCase();
  return (
    <>
      <div class="page-head">
        <h1>Flags</h1>
        <Search value={filter} onInput={(search) => setParams({ search })} label="Filter flags and values" />
      </div>
      <Loadable of={loaded}>
        {(flags) => {
          const found = Object.entries(flags)
            .filter(([name, value]) => `--${name} ${value}`.toLowerCase().includes(wanted))
            .sort(([a], [b]) => (a < b ? -1 : 1));
          if (found.length === 0) return <Empty title="No flag matches" />;
          return (
            <div class="card scroll">
              <table class="grid">
                <thead><tr><th>Flag</th><th>Value</th></tr></thead>
                <tbody>
                  {found.map(([name, value]) => (
                    <tr key={name}>
                      <td><code>--{name}</code></td>
                      <td class="wrap">{value === '' ? <span class="muted">empty</span> : <code>{value}</code>}</td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          );
        }}
      </Loadable>
    </>
  );
}
