// What a page's main thread does, task by task.

import assert from 'node:assert/strict';

/** The one of which a task is, and few other events. */
const CATEGORY = 'disabled-by-default-devtools.timeline';

/**
 * Records the tasks of a page's main thread, until the function that this returns is called, which answers them. Of each, in ms, `cpu`
 * is how long the thread ran, and `wall` how much time went by: only that counts the time in which other processes ran instead.
 * Chromium keeps so many events, hence not for minutes: it is an error if some are lost.
 */
export async function recordTasks(page) {
  const devtools = await page.context().newCDPSession(page);
  const events = [];
  devtools.on('Tracing.dataCollected', ({ value }) => value.forEach((event) => events.push(event)));
  const traceConfig = { includedCategories: [CATEGORY], excludedCategories: ['*'] };
  await devtools.send('Tracing.start', { traceConfig, transferMode: 'ReportEvents' });
  return async () => {
    const completed = new Promise((resolve) => devtools.once('Tracing.tracingComplete', resolve));
    await devtools.send('Tracing.end');
    const { dataLossOccurred: isCut } = await completed;
    await devtools.detach();
    assert.ok(!isCut, 'nothing of the recording was lost');
    const [{ processId }] = events.find(({ name }) => name === 'TracingStartedInBrowser').args.data.frames;
    const { tid } = events.find(({ name, pid, args }) => pid === processId && name === 'thread_name' && args.name === 'CrRendererMain');
    const tasks = events.filter((event) => event.name === 'RunTask' && event.ph === 'X' && event.pid === processId && event.tid === tid)
      .map(({ tdur, dur }) => ({ cpu: tdur / 1000, wall: dur / 1000 }));
    assert.ok(tasks.length > 0 && tasks.every(({ cpu }) => cpu >= 0), 'Chromium says how long each task ran');
    return tasks;
  };
}
