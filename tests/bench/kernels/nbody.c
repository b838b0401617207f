// bench: group=compute n=500000 checksum=-35133975
// quick: n=50 checksum=575026157
//
// Five bodies in gravity, n steps: f64 arithmetic with divisions and square
// roots.

#include "kernel.h"

#define BODIES 5

typedef struct {
  double x, y, z, vx, vy, vz, mass;
} Body;

#define YEAR 365.24
#define SOLAR_MASS 39.47841760435743

static const Body kStart[BODIES] = {
    {0, 0, 0, 0, 0, 0, SOLAR_MASS},
    {4.84143144246472090, -1.16032004402742839, -0.103622044471123109,
     0.00166007664274403694 * YEAR, 0.00769901118419740425 * YEAR,
     -0.0000690460016972063023 * YEAR, 0.000954791938424326609 * SOLAR_MASS},
    {8.34336671824457987, 4.12479856412430479, -0.403523417114321381,
     -0.00276742510726411 * YEAR, 0.00499852801234917238 * YEAR,
     0.0000230417297573763929 * YEAR, 0.000285885980666130812 * SOLAR_MASS},
    {12.8943695621391310, -15.1111514016986312, -0.223307578892655734,
     0.00296460137564761618 * YEAR, 0.0023784717395948095 * YEAR,
     -0.0000296589568540237556 * YEAR, 0.0000436624404335156298 * SOLAR_MASS},
    {15.3796971148509165, -25.9193146099879641, 0.179258772950371181,
     0.00268067772490389322 * YEAR, 0.00162824170038242295 * YEAR,
     -0.0000951592254519715870 * YEAR, 0.0000515138902046611451 * SOLAR_MASS}};

static Body bodies[BODIES];

static void Step(double dt) {
  for (int i = 0; i < BODIES; ++i) {
    Body* a = &bodies[i];
    for (int j = i + 1; j < BODIES; ++j) {
      Body* b = &bodies[j];
      const double dx = a->x - b->x;
      const double dy = a->y - b->y;
      const double dz = a->z - b->z;
      const double square = dx * dx + dy * dy + dz * dz;
      const double pull = dt / (square * __builtin_sqrt(square));
      a->vx -= dx * b->mass * pull;
      a->vy -= dy * b->mass * pull;
      a->vz -= dz * b->mass * pull;
      b->vx += dx * a->mass * pull;
      b->vy += dy * a->mass * pull;
      b->vz += dz * a->mass * pull;
    }
  }
  for (int i = 0; i < BODIES; ++i) {
    Body* a = &bodies[i];
    a->x += dt * a->vx;
    a->y += dt * a->vy;
    a->z += dt * a->vz;
  }
}

KERNEL int32_t run(int32_t n) {
  for (int i = 0; i < BODIES; ++i) bodies[i] = kStart[i];
  for (int32_t i = 0; i < n; ++i) Step(0.01);
  double sum = 0;
  for (int i = 0; i < BODIES; ++i) {
    sum += bodies[i].x + bodies[i].vy * 3.0 + bodies[i].z * 5.0;
  }
  return (int32_t)(int64_t)(sum * 1e7);
}
