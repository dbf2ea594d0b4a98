/** The page: one router's fleet, live. */
import { render } from "preact"
import { Charts } from "./Charts.tsx"
import { Fleet } from "./Fleet.tsx"
import { Header } from "./Header.tsx"
import { follow } from "./Live.ts"
import { Panel } from "./Panel.tsx"
import { Prefixes } from "./Prefixes.tsx"
import { Requests } from "./Requests.tsx"
import { Totals } from "./Totals.tsx"

const Page = () => (
  <>
    <button type="button" class="skip" onClick={() => document.getElementById("main")?.focus()}>
      To the fleet
    </button>
    <Header />
    <main id="main" tabIndex={-1}>
      <Totals />
      <Charts />
      <div class="columns">
        <div class="column">
          <Fleet />
          <Prefixes />
        </div>
        <div class="column">
          <Requests />
        </div>
      </div>
    </main>
    <Panel />
  </>
)

render(<Page />, document.getElementById("page")!)
follow()
