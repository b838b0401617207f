#include "server/services/upload_slots.h"

#include <string>

#include "gtest/gtest.h"
#include "server/error_reason.h"

namespace callgate {
namespace {

// How many uploads a tenant can begin, one after another.
size_t Fill(UploadSlots& slots, const std::string& tenant) {
  for (size_t count = 0;; ++count) {
    if (!slots.Begin().ok()) return count;
    const absl::Status status = slots.Assign(tenant);
    if (status.ok()) continue;
    EXPECT_EQ(ReasonOf(status), reason::kTooManyUploads);
    slots.End("");
    return count;
  }
}

TEST(UploadSlotsTest, LeaveRoomForOthers) {
  UploadSlots slots(16);
  EXPECT_EQ(Fill(slots, "a"), 8u);
  EXPECT_EQ(Fill(slots, "b"), 4u);
  EXPECT_EQ(Fill(slots, "c"), 2u);
  EXPECT_EQ(Fill(slots, "d"), 1u);
  EXPECT_EQ(Fill(slots, "e"), 1u);
  EXPECT_EQ(Fill(slots, "f"), 0u);
  slots.End("a");
  EXPECT_EQ(Fill(slots, "f"), 1u);
}

TEST(UploadSlotsTest, SayWhatIsTheMatter) {
  UploadSlots slots(2);
  ASSERT_TRUE(slots.Begin().ok());
  ASSERT_TRUE(slots.Assign("acme").ok());
  ASSERT_TRUE(slots.Begin().ok());
  EXPECT_EQ(
      slots.Assign("acme").message(),
      "tenant acme has 1 uploads under way, where 0 of 2 are left for all "
      "others; wait for one to end");
  EXPECT_EQ(slots.Begin().message(),
            "2 uploads are under way, the maximum; try again later");
  // The second is another's.
  EXPECT_TRUE(slots.Assign("other").ok());
  slots.End("acme");
  slots.End("other");
  EXPECT_EQ(Fill(slots, "acme"), 1u);
}

}  // namespace
}  // namespace callgate
